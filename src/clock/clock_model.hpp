// ClockModel: what the node believes about time. Samples of a source go in, a ClockSnapshot comes
// out; in between stand a hard bound (no statistics) and an estimator (nothing but). Pure: ticks
// and samples are arguments. Owned by the clock thread. Invariant: the published hard bound
// contains TAI whenever the source keeps within the error it admits to; where a sample contradicts
// what was believed, the bound holds both.
#pragma once

#include <cstdint>
#include <string>

#include "src/clock/estimator.hpp"
#include "src/clock/hard_bound.hpp"
#include "src/clock/snapshot.hpp"
#include "src/clock/source.hpp"

namespace driftlock {

struct ClockModelOptions {
  double ns_per_tick = 1.0;                // nominal
  double tolerance_ppb = 500'000.0;        // tick rate against nominal, at all times
  double worst_case_drift_ppb = 50'000.0;  // between any two instants: how holdover grows
  Nanoseconds asymmetry_ns = 0;            // path asymmetry budget, added to each sample's error
  Nanoseconds lost_half_width_ns = 250 * kMillisecond;
  Nanoseconds holdover_after_ns = 5 * kSecond;  // without a good sample
  bool steering_is_input = true;  // the source's servo acts on its frequency, not on TAI's
  EstimatorOptions estimator;
};

// For metrics and people; a copy, so that another thread may keep it.
struct ClockStatus {
  ClockState state = ClockState::kLost;
  Interval hard;               // at the latest update
  double offset_ns = 0.0;      // TAI against nominal ticks since the first sample
  double frequency_ppb = 0.0;  // TAI's rate against nominal ticks
  double drift_ppb_per_s = 0.0;
  double sigma_ns = 0.0;
  double measurement_sigma_ns = 0.0;  // learned noise of the source
  double innovation_ns = 0.0;         // of the latest sample
  double nis = 1.0;                   // mean normalized innovation squared
  ProcessNoise noise;                 // learned noise of the oscillator
  double steering_ppb = 0.0;
  std::uint64_t accepted = 0;
  std::uint64_t suspicious = 0;      // gated by the filter or contradicting the hard bound
  std::uint64_t contradictions = 0;  // of these, against the hard bound
  std::uint64_t missed = 0;          // source unreadable or unsynchronized
  std::uint64_t steps = 0;
};

class ClockModel {
 public:
  explicit ClockModel(const ClockModelOptions& options);

  void update(const ClockSample& sample);
  // No usable sample at this attempt: time passes, doubt grows.
  void missed(std::uint64_t ticks);

  [[nodiscard]] ClockSnapshot snapshot() const;
  [[nodiscard]] ClockStatus status() const;
  [[nodiscard]] ClockState state() const;
  [[nodiscard]] const OffsetEstimator& estimator() const { return estimator_; }
  // The estimator's forecast of TAI less local time, steering included, by the model that has
  // proved best for `ahead_s`.
  [[nodiscard]] ForecastCurve forecast(double ahead_s) const;

 private:
  void advance(std::uint64_t ticks);
  [[nodiscard]] Verdict estimate(const ClockSample& sample, double half_ns, Nanoseconds error_ns);
  [[nodiscard]] bool much_worse_than_usual(Nanoseconds error_ns);
  void bound(std::uint64_t ticks, const Interval& sample, Verdict verdict);
  [[nodiscard]] Interval hard() const;
  [[nodiscard]] double span_ns(std::uint64_t from, std::uint64_t to) const;

  ClockModelOptions options_;
  HardBound trusted_;  // intersection of the samples that agreed
  HardBound rival_;    // of the suspicious ones since the last that agreed
  OffsetEstimator estimator_;
  bool begun_ = false;
  bool suspicious_ = false;
  int contradicted_ = 0;          // suspicious samples in a row
  std::uint64_t ticks_ = 0;       // of base_tai_ns_
  std::uint64_t good_ticks_ = 0;  // of the latest accepted sample
  Nanoseconds base_tai_ns_ = 0;   // local timescale: the first sample and nominal ticks since
  double base_fraction_ns_ = 0.0;
  double steered_ns_ = 0.0;  // what the servo's steering has moved the source by, all told
  double steering_ppb_ = 0.0;
  double usual_error_ns_ = 0.0;       // of the samples that the estimator takes
  int worse_ = 0;                     // samples in a row that it was spared
  double source_variance_ns2_ = 0.0;  // what the source says of its own standard error
  double source_noise_ns2_ = 0.0;     // and of the scatter of its readings
  ClockStatus counts_;  // the counters and the latest innovation; the rest is filled on demand
};

}  // namespace driftlock
