#include "src/clock/estimator.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

constexpr int kUngated = 4;       // the first samples say what noise is
constexpr int kMany = 1'000'000;  // samples: the start is long past
constexpr double kNisMemory = 1024.0;

}  // namespace

OffsetEstimator::OffsetEstimator(const EstimatorOptions& options)
    : options_(options),
      straight_(options.bank),
      drifting_(options.bank),
      scoreboard_(options.bank.interval_s, straight_.size(), drifting_.size()) {
  DRIFTLOCK_ASSERT(options.step_after > 1 && options.step_after <= kMaxRejects);
}

void OffsetEstimator::coast(double dt_s) {
  if (!started_) return;
  straight_.coast(dt_s);
  drifting_.coast(dt_s);
  now_s_ += dt_s;
}

void OffsetEstimator::start(double offset_ns, double prior_ns2) {
  straight_.start(offset_ns);
  drifting_.start(offset_ns);
  prior_ns2_ = prior_ns2;
  started_ = true;
  accepted_ = 1;
  sample_s_ = now_s_;
}

Verdict OffsetEstimator::observe(double offset_ns, double floor_ns2, double prior_ns2) {
  if (!started_) {
    start(offset_ns, prior_ns2);
    return Verdict::kStarted;
  }
  prior_ns2_ = std::max(prior_ns2, floor_ns2);
  const ForecastCurve foreseen = straight_.curve(prior_ns2_);
  const double measurement = straight_.measurement_variance(prior_ns2_) + floor_ns2;
  innovation_ = {offset_ns - foreseen.mean[0], foreseen.variance[0] + measurement};
  const double gate = options_.gate_sigmas * options_.gate_sigmas;
  const double usual = measurement - floor_ns2;
  const double relative = usual > 0.0 ? 1.0 + floor_ns2 / usual : 1.0;
  if (accepted_ >= kUngated && innovation_.nis() > gate) return reject(offset_ns, relative);
  accept(offset_ns, measurement, relative);
  return Verdict::kAccepted;
}

void OffsetEstimator::accept(double offset_ns, double measurement_ns2, double relative_noise) {
  scoreboard_.score(now_s_, offset_ns, measurement_ns2);
  straight_.observe(offset_ns, relative_noise);
  drifting_.observe(offset_ns, relative_noise);
  sample_s_ = now_s_;
  accepted_ = std::min(accepted_ + 1, kMany);
  if (accepted_ >= kUngated && scoreboard_.wants_record(now_s_)) record();
  const double weight = 1.0 / std::min(kNisMemory, static_cast<double>(accepted_));
  mean_nis_ += weight * (std::min(innovation_.nis(), 25.0) - mean_nis_);
  doubt_ns2_ = 0.0;
  reject_count_ = 0;
}

void OffsetEstimator::record() {
  const ForecastCurve mixture = straight_.curve(prior_ns2_);
  means_.clear();
  straight_.append_means(means_);
  drifting_.append_means(means_);
  std::array<ForecastCurve, Scoreboard::kHorizons> published;
  for (std::size_t i = 0; i < published.size(); ++i) {
    published[i] = believed(Scoreboard::horizon_s(options_.bank.interval_s, i), mixture);
  }
  scoreboard_.record(now_s_, mixture, means_, published);
}

// A run of suspicious samples is a new truth. The offset starts again from it; frequency and noise
// stand, with as much more doubt of the frequency as the run's own slope suggests.
Verdict OffsetEstimator::reject(double offset_ns, double relative_noise) {
  doubt_ns2_ = innovation_.value_ns * innovation_.value_ns;
  rejects_[static_cast<std::size_t>(reject_count_++)] = {now_s_, offset_ns};
  if (reject_count_ < options_.step_after) return Verdict::kSuspicious;
  const Reject& first = rejects_[0];
  const double span = now_s_ - first.time_s;
  const double slope = span > 0.0 ? (offset_ns - first.offset_ns) / span : 0.0;
  const double surprise = slope - straight_.curve(prior_ns2_).mean[1];
  straight_.learn(offset_ns, relative_noise);
  drifting_.learn(offset_ns, relative_noise);
  straight_.restart_offset(offset_ns, surprise * surprise);
  drifting_.restart_offset(offset_ns, surprise * surprise);
  scoreboard_.forget_pending();
  doubt_ns2_ = 0.0;
  reject_count_ = 0;
  sample_s_ = now_s_;
  return Verdict::kStepped;
}

ForecastCurve OffsetEstimator::believed(double horizon_s, const ForecastCurve& mixture) const {
  const Scoreboard::Belief& belief = scoreboard_.belief(horizon_s);
  if (belief.shares.empty()) return mixture;
  const auto member = [&](std::size_t i) {
    return i < straight_.size() ? straight_.member_curve(i, prior_ns2_)
                                : drifting_.member_curve(i - straight_.size(), prior_ns2_);
  };
  ForecastCurve curve;
  for (std::size_t i = 0; i < curve.mean.size(); ++i) {
    curve.mean[i] = belief.mixture * mixture.mean[i];
    for (const auto& share : belief.shares) {
      curve.mean[i] += share.weight * member(share.expert).mean[i];
    }
  }
  curve.blend(belief.mixture, mixture, curve.mean);
  for (const auto& share : belief.shares) {
    curve.blend(share.weight, member(share.expert), curve.mean);
  }
  return curve;
}

ForecastCurve OffsetEstimator::curve(double ahead_s) const {
  const double horizon = since_sample_s() + ahead_s;
  ForecastCurve curve = believed(horizon, straight_.curve(prior_ns2_));
  const double stretch = scoreboard_.stretch(horizon);
  for (double& v : curve.variance) v *= stretch;
  curve.variance[0] += doubt_ns2_;
  return curve;
}

double OffsetEstimator::measurement_sigma_ns() const {
  return std::sqrt(straight_.measurement_variance(prior_ns2_));
}

}  // namespace driftlock
