// KalmanFilter<N>: one clock against its source, with two states (offset, frequency) or three (and
// drift). Owned by the clock thread, not thread-safe. Invariant: the covariance stays symmetric and
// positive semidefinite (Joseph form).
#pragma once

#include <array>
#include <cstddef>

namespace driftlock {

// Process noise of a clock in continuous form: the power of the white noise that drives each state.
struct ProcessNoise {
  double q1 = 0.0;  // white frequency noise: ns^2/s
  double q2 = 0.0;  // random walk of frequency: (ns/s)^2/s
  double q3 = 0.0;  // random walk of drift: (ns/s^2)^2/s; three-state filter only
};

// What a measurement said: innovation, and its variance as foreseen by the filter.
struct Innovation {
  double value_ns = 0.0;
  double variance_ns2 = 1.0;

  // Normalized innovation squared: chi-square with one degree of freedom, mean 1.
  [[nodiscard]] double nis() const { return value_ns * value_ns / variance_ns2; }
};

template <int kStates>
class KalmanFilter {
  static_assert(kStates == 2 || kStates == 3);

 public:
  // Starts over from offset, frequency and drift (ns, ns/s, ns/s^2) with independent variances.
  void reset(const std::array<double, kStates>& state, const std::array<double, kStates>& variance);
  void predict(double dt_s, const ProcessNoise& noise);
  [[nodiscard]] Innovation innovation(double offset_ns, double variance_ns2) const {
    return {offset_ns - state_[0], covariance_[0] + variance_ns2};
  }
  // The caller has gated the innovation, which is that of this state.
  void update(const Innovation& innovation, double measurement_variance_ns2);

  // The clock was stepped: what was known of the offset is void, the rest stands but for
  // `frequency_variance` more doubt.
  void restart_offset(double offset_ns, double variance_ns2, double frequency_variance);

  // Offset, frequency, drift.
  [[nodiscard]] double state(int i) const { return state_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] double covariance(int row, int column) const {
    return covariance_[static_cast<std::size_t>(row) * kStates + static_cast<std::size_t>(column)];
  }
  // Variance of the offset forecast dt ahead, as coefficients of 1, dt, dt^2, ... dt^5.
  [[nodiscard]] std::array<double, 6> forecast_variance(const ProcessNoise& noise) const;

 private:
  std::array<double, kStates> state_{};
  std::array<double, std::size_t{kStates} * kStates> covariance_{};  // row-major
};

}  // namespace driftlock
