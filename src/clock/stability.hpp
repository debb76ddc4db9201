// Stability analysis of a clock: Allan-type deviations and MTIE of a phase record, and the noise
// powers q1..q3 that explain them. Pure.
//
// x_k phase (s), T sampling interval, tau = m T, N samples; D(j) = x[j+2m] - 2 x[j+m] + x[j]:
//   ADEV   sqrt( sum D(jm)^2 / (2 tau^2 M) )          samples m apart, M of them
//   OADEV  sqrt( sum D(j)^2 / (2 tau^2 (N - 2m)) )    every sample
//   MDEV   sqrt( sum_j (sum_{i=j}^{j+m-1} D(i))^2 / (2 m^2 tau^2 (N - 3m + 1)) )
//   TDEV   tau MDEV / sqrt 3
//   MTIE   the largest peak-to-peak phase within any window of m+1 samples
// Source: W. J. Riley, "Handbook of Frequency Stability Analysis", NIST SP 1065 (2008).
#pragma once

#include <cstddef>
#include <vector>

#include "src/clock/kalman.hpp"

namespace driftlock {

struct Deviations {
  std::size_t averaging = 1;  // m
  double tau_s = 0.0;
  double adev = 0.0;
  double oadev = 0.0;
  double mdev = 0.0;
  double tdev_s = 0.0;
  double mtie_s = 0.0;
};

[[nodiscard]] double allan_deviation(const std::vector<double>& phase_s, double interval_s,
                                     std::size_t averaging);
[[nodiscard]] double overlapping_allan_deviation(const std::vector<double>& phase_s,
                                                 double interval_s, std::size_t averaging);
[[nodiscard]] double modified_allan_deviation(const std::vector<double>& phase_s, double interval_s,
                                              std::size_t averaging);
[[nodiscard]] double maximum_time_interval_error(const std::vector<double>& phase_s,
                                                 std::size_t averaging);

// All of them at one averaging; 3m <= N.
[[nodiscard]] Deviations deviations_at(const std::vector<double>& phase_s, double interval_s,
                                       std::size_t averaging);
// All of them at m = 1, 2, 4 ... as far as the record allows (3m < N).
[[nodiscard]] std::vector<Deviations> analyze_stability(const std::vector<double>& phase_s,
                                                        double interval_s);

// White phase noise and the q's of the Kalman filter (in its units, ns and s), fitted to the
// overlapping Allan variances: avar(tau) = 3 R/tau^2 + q1/tau + q2 tau/3 + q3 tau^3/20. Least
// squares of the relative errors, none negative.
struct NoiseFit {
  double white_phase_ns = 0.0;  // standard deviation, sqrt(R)
  ProcessNoise process;
  double flicker_floor = 0.0;  // s/s: the least overlapping Allan deviation, where flicker shows
};
[[nodiscard]] NoiseFit fit_noise(const std::vector<Deviations>& deviations);

}  // namespace driftlock
