#include "src/clock/clock_model.hpp"

#include <algorithm>
#include <cmath>

namespace driftlock {
namespace {

constexpr double kPpb = 1e-9;

HardBoundLimits limits_of(const ClockModelOptions& options) {
  return {options.ns_per_tick, options.tolerance_ppb * kPpb, options.worst_case_drift_ppb * kPpb};
}

Interval hull(const Interval& a, const Interval& b) {
  return {std::min(a.earliest, b.earliest), std::max(a.latest, b.latest)};
}

}  // namespace

ClockModel::ClockModel(const ClockModelOptions& options)
    : options_(options),
      trusted_(limits_of(options)),
      rival_(limits_of(options)),
      estimator_(options.estimator) {}

double ClockModel::span_ns(std::uint64_t from, std::uint64_t to) const {
  return static_cast<double>(static_cast<std::int64_t>(to - from)) * options_.ns_per_tick;
}

// The local timescale counts whole nanoseconds and keeps the fraction. Steering is the source's
// doing and known: the estimator sees the source as it would run without.
void ClockModel::advance(std::uint64_t ticks) {
  const double span = span_ns(ticks_, ticks);
  const double whole = std::floor(span + base_fraction_ns_);
  base_fraction_ns_ += span - whole;
  base_tai_ns_ += static_cast<Nanoseconds>(whole);
  steered_ns_ += steering_ppb_ * span * kPpb;
  estimator_.coast(span * kPpb);
  ticks_ = ticks;
}

void ClockModel::missed(std::uint64_t ticks) {
  ++counts_.missed;
  if (begun_ && static_cast<std::int64_t>(ticks - ticks_) > 0) advance(ticks);
}

void ClockModel::update(const ClockSample& sample) {
  const std::uint64_t sandwich = sample.ticks_after - sample.ticks_before;
  const std::uint64_t ticks = sample.ticks_before + sandwich / 2;
  const bool backwards = begun_ && static_cast<std::int64_t>(ticks - ticks_) <= 0;
  if (!sample.synchronized || backwards || static_cast<std::int64_t>(sandwich) < 0) {
    missed(sample.ticks_after);
    return;
  }
  if (!begun_) {
    begun_ = true;
    ticks_ = ticks;
    base_tai_ns_ = sample.tai_ns;
    if (options_.steering_is_input) steering_ppb_ = sample.steering_ppb;
  }
  advance(ticks);
  const double half_ns = 0.5 * static_cast<double>(sandwich + 1) * options_.ns_per_tick;
  const double widest_ns = half_ns * (1.0 + options_.tolerance_ppb * kPpb);
  const Nanoseconds error = saturating_add(
      saturating_add(std::max<Nanoseconds>(sample.max_error_ns, 0), options_.asymmetry_ns),
      static_cast<Nanoseconds>(std::ceil(widest_ns)) + 1);
  const Verdict verdict =
      much_worse_than_usual(error) ? Verdict::kSpared : estimate(sample, half_ns, error);
  bound(ticks, Interval::around(sample.tai_ns, error), verdict);
}

// A source that suddenly admits to a far larger error has lost its reference: its time still bounds
// TAI, but says nothing that the forecast does not know better. One that stays so is the new usual.
bool ClockModel::much_worse_than_usual(Nanoseconds error_ns) {
  constexpr double kMuch = 8.0;
  constexpr int kNewUsual = 1024;
  constexpr double kMemory = 64.0;
  const auto error = static_cast<double>(error_ns);
  if (usual_error_ns_ <= 0.0 || worse_ >= kNewUsual) usual_error_ns_ = error;
  if (error > kMuch * usual_error_ns_) {
    ++worse_;
    return true;
  }
  worse_ = 0;
  usual_error_ns_ += (error - usual_error_ns_) / kMemory;
  return false;
}

// The instant of the reading is uniform within the sandwich: variance (2 half)^2 / 12.
Verdict ClockModel::estimate(const ClockSample& sample, double half_ns, Nanoseconds error_ns) {
  const double offset =
      static_cast<double>(sample.tai_ns - base_tai_ns_) - base_fraction_ns_ - steered_ns_;
  if (options_.steering_is_input) steering_ppb_ = sample.steering_ppb;
  const auto own = static_cast<double>(sample.estimated_error_ns);
  const auto prior = static_cast<double>(error_ns);
  const Verdict verdict = estimator_.observe(offset, half_ns * half_ns / 3.0, prior * prior);
  if (verdict != Verdict::kSuspicious) {
    source_variance_ns2_ = own * own;
    source_noise_ns2_ = sample.noise_ns * sample.noise_ns;
  }
  return verdict;
}

// A sample that fits narrows the bound. One that does not is held beside it, as a rival, until a
// sample fits again (it was an outlier) or enough of them in a row agree (it was a step).
void ClockModel::bound(std::uint64_t ticks, const Interval& sample, Verdict verdict) {
  const bool agrees = trusted_.agrees(ticks, sample);
  if (agrees && verdict != Verdict::kSuspicious) {
    trusted_.narrow(ticks, sample);
    counts_.steps += verdict == Verdict::kStepped ? 1 : 0;
    ++counts_.accepted;
    suspicious_ = false;
    contradicted_ = 0;
    good_ticks_ = ticks;
    return;
  }
  ++counts_.suspicious;
  counts_.contradictions += agrees ? 0 : 1;
  if (contradicted_ == 0 || !rival_.agrees(ticks, sample)) {
    rival_.restart(ticks, sample);
    contradicted_ = 0;
  } else {
    rival_.narrow(ticks, sample);
  }
  suspicious_ = true;
  ++contradicted_;
  if (!agrees && (verdict == Verdict::kStepped || contradicted_ >= options_.estimator.step_after)) {
    trusted_ = rival_;
    ++counts_.steps;
    suspicious_ = false;
    contradicted_ = 0;
    good_ticks_ = ticks;
  }
}

Interval ClockModel::hard() const {
  const Interval trusted = trusted_.at(ticks_);
  return suspicious_ ? hull(trusted, rival_.at(ticks_)) : trusted;
}

ClockState ClockModel::state() const {
  if (!begun_ || hard().half_width() > options_.lost_half_width_ns) return ClockState::kLost;
  if (suspicious_) return ClockState::kSuspect;
  const double age = span_ns(good_ticks_, ticks_);
  return age > static_cast<double>(options_.holdover_after_ns) ? ClockState::kHoldover
                                                               : ClockState::kSync;
}

// White noise in the readings is either the source's, and no error of the forecast, or the local
// clock's own (quantised ticks, a servo's jitter), and then one like any other. Readings cannot
// tell: what is more than the source says of itself counts as the clock's.
ForecastCurve ClockModel::forecast(double ahead_s) const {
  ForecastCurve curve = estimator_.curve(ahead_s);
  const double scatter_ns = estimator_.measurement_sigma_ns();
  curve.variance[0] += std::max(scatter_ns * scatter_ns - source_noise_ns2_, 0.0);
  curve.mean[0] += steered_ns_;
  curve.mean[1] += steering_ppb_;
  curve.variance[0] += source_variance_ns2_;
  return curve;
}

ClockSnapshot ClockModel::snapshot() const {
  ClockSnapshot snapshot;
  snapshot.lost_ns = options_.lost_half_width_ns;
  snapshot.holdover_after_ns = options_.holdover_after_ns;
  snapshot.state = state();
  if (!begun_) return snapshot;
  const ForecastCurve curve = forecast(options_.estimator.bank.interval_s);
  const Interval certain = hard();
  snapshot.anchor_ticks = ticks_;
  snapshot.anchor_tai_ns = base_tai_ns_ + std::llround(base_fraction_ns_ + curve.mean[0]);
  snapshot.hard_earliest_ns = certain.earliest;
  snapshot.hard_latest_ns = certain.latest;
  snapshot.tai_ns_per_tick = options_.ns_per_tick * (1.0 + curve.mean[1] * kPpb);
  snapshot.min_tai_ns_per_tick = trusted_.min_rate();
  snapshot.max_tai_ns_per_tick = trusted_.max_rate();
  if (suspicious_) {
    snapshot.min_tai_ns_per_tick = std::min(snapshot.min_tai_ns_per_tick, rival_.min_rate());
    snapshot.max_tai_ns_per_tick = std::max(snapshot.max_tai_ns_per_tick, rival_.max_rate());
  }
  snapshot.drift_per_ns = 2.0 * curve.mean[2] * kPpb * kPpb;
  double scale = 1.0;
  for (std::size_t i = 0; i < std::size(snapshot.variance); ++i, scale *= kPpb) {
    snapshot.variance[i] = curve.variance[i] * scale;
  }
  return snapshot;
}

ClockStatus ClockModel::status() const {
  ClockStatus status = counts_;
  status.state = state();
  status.hard = hard();
  if (!begun_) return status;
  const ForecastCurve curve = forecast(0.0);
  status.offset_ns = curve.mean[0];
  status.frequency_ppb = curve.mean[1];
  status.drift_ppb_per_s = 2.0 * curve.mean[2];
  status.sigma_ns = std::sqrt(curve.variance[0]);
  status.measurement_sigma_ns = estimator_.measurement_sigma_ns();
  status.innovation_ns = estimator_.innovation_ns();
  status.nis = estimator_.mean_nis();
  status.noise = estimator_.process_noise();
  status.steering_ppb = steering_ppb_;
  return status;
}

}  // namespace driftlock
