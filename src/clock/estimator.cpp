#include "src/clock/estimator.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

constexpr int kUngated = 16;      // the first samples say what noise is
constexpr int kMany = 1'000'000;  // samples: the start is long past
constexpr int kOutliers = 2;      // in a row, that are the source's
// A clock that really jumps about (a servo's) opens the gate; one whose doubtful samples were
// single outliers does not.
constexpr double kGateGrowth = 1.5;
constexpr double kMostGate = 10.0;
constexpr double kGateFading = 1.0 - 1.0 / 4096.0;
constexpr double kMostOfDoubtful = 25.0;
constexpr double kMost = 1e12;
constexpr double kNisMemory = 1024.0;

std::vector<std::size_t> window_sizes() {
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < 2 * WindowForecasts::size(); ++i) {
    sizes.push_back(WindowForecasts::samples(i % WindowForecasts::size()));
  }
  return sizes;
}

}  // namespace

OffsetEstimator::OffsetEstimator(const EstimatorOptions& options)
    : options_(options),
      straight_(options.bank),
      drifting_(options.bank),
      scoreboard_(options.bank.interval_s, {straight_.size(), drifting_.size(), window_sizes()}) {
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
  for (WindowForecasts* windows : {&windows_, &as_read_}) {
    windows->start();
    windows->add(now_s_, offset_ns, offset_ns);
  }
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
  const double gate = options_.gate_sigmas * options_.gate_sigmas * gate_ * gate_;
  const double usual = measurement - floor_ns2;
  const double relative = usual > 0.0 ? 1.0 + floor_ns2 / usual : 1.0;
  if (accepted_ >= kUngated && innovation_.nis() > gate) {
    return reject(offset_ns, measurement, relative);
  }
  accept(offset_ns, measurement, relative);
  return Verdict::kAccepted;
}

void OffsetEstimator::accept(double offset_ns, double measurement_ns2, double relative_noise) {
  scoreboard_.score(now_s_, offset_ns, measurement_ns2, kMost);
  straight_.observe(offset_ns, relative_noise);
  drifting_.observe(offset_ns, relative_noise);
  const double filtered = straight_.curve(prior_ns2_).mean[0];
  windows_.add(now_s_, offset_ns, filtered);
  as_read_.add(now_s_, offset_ns, filtered);
  sample_s_ = now_s_;
  accepted_ = std::min(accepted_ + 1, kMany);
  if (accepted_ >= kUngated && scoreboard_.wants_record(now_s_)) record();
  const double weight = 1.0 / std::min(kNisMemory, static_cast<double>(accepted_));
  mean_nis_ += weight * (std::min(innovation_.nis(), 25.0) - mean_nis_);
  gate_ = std::max(gate_ * kGateFading, 1.0);
  doubt_ns2_ = 0.0;
  reject_count_ = 0;
}

void OffsetEstimator::record() {
  const ForecastCurve mixture = straight_.curve(prior_ns2_);
  means_.clear();
  straight_.append_means(means_);
  drifting_.append_means(means_);
  windows_.append_means(means_);
  as_read_.append_means(means_);
  std::array<ForecastCurve, Scoreboard::kHorizons> published;
  for (std::size_t i = 0; i < published.size(); ++i) {
    published[i] = believed(Scoreboard::horizon_s(options_.bank.interval_s, i), mixture);
  }
  scoreboard_.record(now_s_, mixture, means_, published);
}

// A run of suspicious samples is a new truth. The offset starts again from it; frequency and noise
// stand, with as much more doubt of the frequency as the run's own slope suggests.
Verdict OffsetEstimator::reject(double offset_ns, double measurement_ns2, double relative_noise) {
  doubt_ns2_ = innovation_.value_ns * innovation_.value_ns;
  rejects_[static_cast<std::size_t>(reject_count_++)] = {now_s_, offset_ns};
  // One or two may be the source's outliers; more in a row are the clock, and what was foreseen of
  // it was as wrong as this.
  if (reject_count_ > kOutliers) {
    scoreboard_.score(now_s_, offset_ns, measurement_ns2, kMostOfDoubtful);
    if (reject_count_ == kOutliers + 1) gate_ = std::min(gate_ * kGateGrowth, kMostGate);
  }
  if (reject_count_ < options_.step_after) return Verdict::kSuspicious;
  for (int i = 0; i < reject_count_; ++i) {
    const Reject& one = rejects_[static_cast<std::size_t>(i)];
    as_read_.add(one.time_s, one.offset_ns, one.offset_ns);
  }
  const Reject& first = rejects_[0];
  const double span = now_s_ - first.time_s;
  const double slope = span > 0.0 ? (offset_ns - first.offset_ns) / span : 0.0;
  const double surprise = slope - straight_.curve(prior_ns2_).mean[1];
  windows_.shift(innovation_.value_ns);
  straight_.learn(offset_ns, relative_noise);
  drifting_.learn(offset_ns, relative_noise);
  straight_.restart_offset(offset_ns, surprise * surprise);
  drifting_.restart_offset(offset_ns, surprise * surprise);
  scoreboard_.shift_pending(innovation_.value_ns,
                            straight_.size() + drifting_.size() + WindowForecasts::size());
  doubt_ns2_ = 0.0;
  reject_count_ = 0;
  sample_s_ = now_s_;
  return Verdict::kStepped;
}

// A window has no variance of its own: it gets the mixture's, scaled by how it has fared against
// it.
ForecastCurve OffsetEstimator::expert(const Scoreboard::Belief::Share& share,
                                      const ForecastCurve& mixture) const {
  std::size_t i = share.expert;
  if (i < straight_.size()) return straight_.member_curve(i, prior_ns2_);
  i -= straight_.size();
  if (i < drifting_.size()) return drifting_.member_curve(i, prior_ns2_);
  i -= drifting_.size();
  constexpr std::size_t kWindows = WindowForecasts::size();
  ForecastCurve curve;
  curve.mean = i < kWindows ? windows_.mean(i, now_s_) : as_read_.mean(i - kWindows, now_s_);
  curve.variance = mixture.variance;
  for (double& v : curve.variance) v *= share.scale;
  return curve;
}

ForecastCurve OffsetEstimator::believed(double horizon_s, const ForecastCurve& mixture) const {
  const Scoreboard::Belief& belief = scoreboard_.belief(horizon_s);
  if (belief.shares.empty()) return mixture;
  ForecastCurve curve;
  for (std::size_t i = 0; i < curve.mean.size(); ++i) {
    curve.mean[i] = belief.mixture * mixture.mean[i];
  }
  for (const auto& share : belief.shares) {
    const ForecastCurve told = expert(share, mixture);
    for (std::size_t i = 0; i < curve.mean.size(); ++i) {
      curve.mean[i] += share.weight * told.mean[i];
    }
  }
  curve.blend(belief.mixture, mixture, curve.mean);
  for (const auto& share : belief.shares) {
    curve.blend(share.weight, expert(share, mixture), curve.mean);
  }
  return curve;
}

ForecastCurve OffsetEstimator::curve(double ahead_s) const {
  const double horizon = since_sample_s() + ahead_s;
  ForecastCurve curve = believed(horizon, straight_.curve(prior_ns2_));
  const Scoreboard::Stretch stretch = scoreboard_.stretch(horizon);
  for (double& v : curve.variance) v *= stretch.forecast;
  // Errors are scored with the readings' noise in them. Where they exceed what that noise explains,
  // some of it was the clock's.
  const double measurement = straight_.measurement_variance(prior_ns2_);
  curve.variance[0] += (stretch.total - 1.0) * measurement;
  // And where a burst has been seen, another may come.
  const double together = curve.variance_at(horizon) + measurement;
  curve.variance[0] += std::max(stretch.least_ns2 - together, 0.0);
  curve.variance[0] += doubt_ns2_;
  return curve;
}

double OffsetEstimator::measurement_sigma_ns() const {
  return std::sqrt(straight_.measurement_variance(prior_ns2_));
}

}  // namespace driftlock
