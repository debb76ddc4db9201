#include "src/clock/estimator.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

constexpr double kFirstMeasurementNs = 1'000.0;  // standard deviation before anything is learned
constexpr double kMemory = 256.0;                // samples over which noise is averaged
constexpr ProcessNoise kFirstNoise{1.0, 1e-2, 0.0};

}  // namespace

OffsetEstimator::OffsetEstimator(const EstimatorOptions& options)
    : options_(options), noise_(kFirstNoise) {
  DRIFTLOCK_ASSERT(options.step_after > 1 && options.step_after <= kMaxRejects);
}

void OffsetEstimator::start(double offset_ns, double variance_ns2) {
  const double frequency = options_.frequency_sigma_ppb;
  filter_.reset({offset_ns, 0.0, 0.0}, {variance_ns2, frequency * frequency, 0.0});
  measurement_ns2_ = variance_ns2;
  learned_ = 1.0;
  mean_nis_ = 1.0;
  doubt_ns2_ = 0.0;
  reject_count_ = 0;
  started_ = true;
}

Verdict OffsetEstimator::observe(double offset_ns, double floor_ns2, double steering_change) {
  if (!started_) {
    start(offset_ns, kFirstMeasurementNs * kFirstMeasurementNs + floor_ns2);
    return Verdict::kStarted;
  }
  filter_.shift_frequency(steering_change);
  const double variance = measurement_ns2_ + floor_ns2;
  const Innovation innovation = filter_.innovation(offset_ns, variance);
  if (innovation.nis() > options_.gate_sigmas * options_.gate_sigmas) {
    return reject(offset_ns, floor_ns2, innovation);
  }
  learn(innovation, floor_ns2);
  filter_.update(innovation, variance);
  doubt_ns2_ = 0.0;
  reject_count_ = 0;
  return Verdict::kAccepted;
}

void OffsetEstimator::coast(double dt_s) {
  if (!started_) return;
  filter_.predict(dt_s, noise_);
  for (int i = 0; i < reject_count_; ++i) rejects_[static_cast<std::size_t>(i)].age_s += dt_s;
}

void OffsetEstimator::shift_offset(double offset_ns) {
  filter_.shift_offset(offset_ns);
  for (Reject& reject : rejects_) reject.offset_ns += offset_ns;
}

// A run of suspicious samples is a new truth: the filter starts again from it, as doubtful as the
// samples differ among themselves.
Verdict OffsetEstimator::reject(double offset_ns, double floor_ns2, const Innovation& innovation) {
  doubt_ns2_ = innovation.value_ns * innovation.value_ns;
  rejects_[static_cast<std::size_t>(reject_count_++)] = {0.0, offset_ns};
  if (reject_count_ < options_.step_after) return Verdict::kSuspicious;
  double mean = 0.0;
  for (int i = 0; i < reject_count_; ++i) mean += rejects_[static_cast<std::size_t>(i)].offset_ns;
  mean /= reject_count_;
  double spread = 0.0;
  for (int i = 0; i < reject_count_; ++i) {
    const double d = rejects_[static_cast<std::size_t>(i)].offset_ns - mean;
    spread += d * d;
  }
  spread /= reject_count_ - 1;
  start(offset_ns, std::max(spread, kFirstMeasurementNs * kFirstMeasurementNs) + floor_ns2);
  return Verdict::kStepped;
}

void OffsetEstimator::learn(const Innovation& innovation, double floor_ns2) {
  learned_ = std::min(learned_ + 1.0, kMemory);
  const double weight = 1.0 / learned_;
  const double foreseen = innovation.variance_ns2 - measurement_ns2_ - floor_ns2;
  const double surprise = innovation.value_ns * innovation.value_ns - foreseen - floor_ns2;
  measurement_ns2_ = std::max(measurement_ns2_ + weight * (surprise - measurement_ns2_),
                              measurement_ns2_ / 2 + 1e-3);
  mean_nis_ += weight * (innovation.nis() - mean_nis_);
}

Forecast OffsetEstimator::forecast(double ahead_s) const {
  const auto v = forecast_variance();
  double variance = 0.0;
  for (std::size_t i = v.size(); i-- > 0;) variance = variance * ahead_s + v[i];
  const double offset = filter_.offset_ns() + filter_.frequency_ns_per_s() * ahead_s +
                        filter_.drift_ns_per_s2() * ahead_s * ahead_s / 2;
  return {offset, variance};
}

std::array<double, 6> OffsetEstimator::forecast_variance() const {
  auto v = filter_.forecast_variance(noise_);
  v[0] += doubt_ns2_;
  return v;
}

double OffsetEstimator::measurement_sigma_ns() const {
  return std::sqrt(measurement_ns2_);
}

}  // namespace driftlock
