// Replay: the whole clock model run over a recorded oscillator whose truth is known, with the error
// of its forecasts, the coverage of its bounds, and what simpler estimators make of the same
// samples. Pure: the record is an argument, the noise comes from a seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/clock/clock_model.hpp"

namespace driftlock {

struct ReplayOptions {
  double interval_s = 1.0;
  double noise_ns = 0.0;             // Gaussian, added to each sample
  double outlier_probability = 0.0;  // one-sided outliers
  double outlier_ns = 0.0;
  std::vector<double> horizons_s = {10.0, 100.0, 1000.0, 3600.0};
  double warmup_s = 3600.0;  // errors count from here on, or from a fifth of the record
  double worst_case_drift_ppb = 50'000.0;
  bool baselines = false;
  std::uint64_t seed = 1;
};

struct HorizonResult {
  double horizon_s = 0.0;
  std::uint64_t forecasts = 0;
  double rms_ns = 0.0;
  double statistical_half_width_ns = 0.0;  // mean
  double statistical_coverage = 0.0;       // share of errors within it
  double cold_coverage = 0.0;              // the same from the second sample to the warm-up's end
  double hard_half_width_ns = 0.0;         // mean
  std::uint64_t hard_violations = 0;       // from the second sample on
};

struct BaselineResult {
  std::string name;
  std::vector<double> rms_ns;  // per horizon
};

struct ReplayResult {
  std::vector<HorizonResult> horizons;
  std::vector<BaselineResult> baselines;
  double nis = 0.0;       // mean over the samples after the warm-up, outliers excepted
  double warmup_s = 0.0;  // as applied
  double learned_noise_ns = 0.0;
  ProcessNoise learned;
  std::uint64_t suspicious = 0;
  std::uint64_t steps = 0;
};

// `phase_ns`: the recorded clock's reading less the reference's, one value each interval_s.
[[nodiscard]] ReplayResult replay(const std::vector<double>& phase_ns,
                                  const ReplayOptions& options);

// Phase from frequency offsets y (dimensionless, one each interval_s).
[[nodiscard]] std::vector<double> phase_from_frequency(const std::vector<double>& frequency,
                                                       double interval_s);

}  // namespace driftlock
