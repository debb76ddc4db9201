#include "src/predict/adaptive_liveness.hpp"

#include <algorithm>
#include <cmath>

namespace driftlock {
namespace {

constexpr float kPeriodSamples = 128.0F;
constexpr float kRecentSamples = 8.0F;
constexpr float kErrorSamples = 64.0F;
constexpr float kShortSamples = 16.0F;
constexpr float kLongSamples = 512.0F;
constexpr float kLossSamples = 2048.0F;
constexpr float kAgainSamples = 256.0F;
constexpr std::uint32_t kAgainPrior = 6;  // what is believed before any loss weighs as many
constexpr float kPlanGain = 0.04F;
constexpr float kMultipleWithin = 0.25F;  // of a period: so near to a multiple is taken for losses
constexpr float kRegular = 0.2F;          // mean error / period below which gaps have multiples
constexpr std::uint16_t kMultiplesMax = 4;  // in a row: not losses, but another pace
constexpr std::uint32_t kBorneMax = 16;
constexpr std::size_t kApart = 4;    // bins: two octaves
constexpr double kBeyondSeen = 4.0;  // a silence is guessed at most so many times the longest seen
constexpr double kYouth = 16.0;
constexpr double kLossShare = 0.7;  // of the mistakes allowed
constexpr float kWidenMax = 8.0F;
constexpr float kWiderThanChance = 2.0F;  // a mean of 16 wanders by less

// A mean over `horizon` samples, the plain one until they are reached.
void follow(float& mean, float value, float horizon, std::uint32_t count) {
  mean += (value - mean) / std::min(horizon, static_cast<float>(count));
}

}  // namespace

void AdaptiveLiveness::arrived(Nanoseconds now_ns) {
  if (last_ns_ != kNever && now_ns <= last_ns_) return;  // together with the one before
  if (last_ns_ != kNever) {
    learn(static_cast<float>(now_ns - last_ns_) / 1e3F, now_ns);
  } else {
    plan_ns_ = now_ns;
  }
  last_ns_ = now_ns;
}

// How many periods a gap took; 1 where losses do not explain it.
float AdaptiveLiveness::periods_in(float gap_us) const {
  const bool regular = gaps_ >= kYoungest && last_error_us_ < kRegular * period_us_;
  if (!regular) return 1.0F;
  const float times = std::round(gap_us / period_us_);
  const bool near = std::fabs(gap_us - times * period_us_) < kMultipleWithin * period_us_;
  return near && times > 1.0F && times <= static_cast<float>(kBorneMax) ? times : 1.0F;
}

void AdaptiveLiveness::learn(float gap_us, Nanoseconds now_ns) {
  float times = periods_in(gap_us);
  multiples_ = times > 1.0F ? static_cast<std::uint16_t>(multiples_ + 1) : std::uint16_t{0};
  if (multiples_ > kMultiplesMax) {  // not losses, but another pace, all of a sudden
    period_us_ = recent_us_ = gap_us;
    times = 1.0F;
    loss_ = 0.0F;
    multiples_ = 0;
  }
  if (gaps_ == 0) period_us_ = recent_us_ = gap_us;
  const float expected_us = times * period_us_;
  const auto planned_ns = plan_ns_ + static_cast<Nanoseconds>(expected_us * 1e3F);
  const float by_last_us = gap_us - expected_us;
  const float by_plan_us = static_cast<float>(now_ns - planned_ns) / 1e3F;
  ++gaps_;
  learn_losses(static_cast<std::uint32_t>(times) - 1);
  if (gaps_ > 1) learn_residual(follows_plan() ? by_plan_us : by_last_us);
  // One outlier must not make the means forget which plan is the better.
  const float clip_us = gaps_ < kYoungest ? period_us_ : 8.0F * last_error_us_ + floor_us_;
  follow(last_error_us_, std::min(std::fabs(by_last_us), clip_us), kErrorSamples, gaps_);
  follow(plan_error_us_, std::min(std::fabs(by_plan_us), clip_us), kErrorSamples, gaps_);
  learn_period(gap_us / times);
  plan_ns_ = std::fabs(by_plan_us) > 2.0F * period_us_
                 ? now_ns  // it has nothing to do with this sender any more
                 : planned_ns + static_cast<Nanoseconds>(kPlanGain * by_plan_us * 1e3F);
}

void AdaptiveLiveness::learn_period(float each_us) {
  follow(period_us_, each_us, kPeriodSamples, gaps_);
  follow(recent_us_, each_us, kRecentSamples, gaps_);
  // Somewhat slower than it was: the old mean would take long to follow.
  const bool regular = last_error_us_ < kRegular * period_us_;
  if (regular && recent_us_ > 2.0F * period_us_) period_us_ = recent_us_;
}

void AdaptiveLiveness::learn_losses(std::uint32_t lost) {
  follow(loss_, lost > 0 ? 1.0F : 0.0F, kLossSamples, gaps_ + 16);
  // Each lost one says whether the next was lost too; the last of them says no.
  for (std::uint32_t i = 0; i < lost; ++i) {
    losses_ = static_cast<std::uint16_t>(std::min(losses_ + 1, 0xFFFF));
    follow(loss_again_, i + 1 < lost ? 1.0F : 0.0F, kAgainSamples, losses_ + kAgainPrior);
  }
}

void AdaptiveLiveness::learn_residual(float residual_us) {
  follow(recent_error_us_, std::fabs(residual_us), kShortSamples, gaps_ - 1);
  follow(usual_error_us_, std::fabs(residual_us), kLongSamples, gaps_ - 1);
  ++residuals_;
  if (residual_us > 0.0F) {
    const float octaves = std::log2(std::max(residual_us, kFirstBinUs) / kFirstBinUs);
    const auto bin = std::min(static_cast<std::size_t>(2.0F * octaves), kBins - 1);
    ++late_[bin];
  }
  if (residuals_ < kRemembered) return;
  residuals_ /= 2;
  for (std::uint16_t& count : late_) count = static_cast<std::uint16_t>(count / 2);
}

// How many losses in a row to bear, so that more come with a chance below `rate`; and the chance
// that so many come.
AdaptiveLiveness::Borne AdaptiveLiveness::losses_to_bear(double rate) const {
  const auto again = static_cast<double>(std::max(loss_again_, loss_));
  Borne borne;
  double more = static_cast<double>(loss_);
  while (more > rate && borne.losses < kBorneMax) {
    borne.chance = more;
    more *= again;
    ++borne.losses;
  }
  return borne;
}

// Microseconds that a share `rate` of the residuals exceeds.
double AdaptiveLiveness::residual_quantile(double rate) const {
  const double wanted = rate * static_cast<double>(residuals_);
  if (wanted < 4.0) return tail_quantile(rate);
  double above = 0.0;
  for (std::size_t bin = kBins; bin-- > 0;) {
    const double here = late_[bin];
    if (here > 0.0 && above + here >= wanted) {
      const double part = 1.0 - (wanted - above) / here;  // of the bin, from its lower end
      return static_cast<double>(kFirstBinUs) * std::exp2((static_cast<double>(bin) + part) / 2.0);
    }
    above += here;
  }
  return 0.0;
}

// Beyond what was counted: the moment estimator through the largest 2%, at least 16, which tells
// tails that end from heavy ones. M1, M2: moments of ln(x / x_k).
double AdaptiveLiveness::tail_quantile(double rate) const {
  const double size = std::max(static_cast<double>(residuals_), 1.0);
  const double in_tail = std::max(16.0, 0.01 * size);
  double above = 0.0;
  std::size_t first = kBins;
  std::size_t last = 0;  // filled bin from above
  for (std::size_t bin = kBins; bin-- > 0 && above < in_tail;) {
    if (late_[bin] == 0) continue;
    // What lies octaves below is another kind of gap: its spread says nothing of the larger ones'.
    if (above >= kYoungest && first - bin > kApart) break;
    above += late_[bin];
    last = std::max(last, bin);
    first = bin;
  }
  if (above < kYoungest) {  // too young: a few times what was seen
    const double young = std::min(1.0, 8.0 / size);
    return 4.0 * static_cast<double>(usual_error_us_) +
           0.5 * young * static_cast<double>(period_us_);
  }
  const double per_bin = std::log(2.0) / 2.0;
  double m1 = 0.0;
  double m2 = 0.0;
  for (std::size_t bin = first; bin < kBins; ++bin) {
    const double log_ratio = per_bin * (static_cast<double>(bin - first) + 0.5);
    m1 += late_[bin] * log_ratio / above;
    m2 += late_[bin] * (log_ratio * log_ratio + per_bin * per_bin / 12.0) / above;
  }
  const double start_us =
      static_cast<double>(kFirstBinUs) * std::exp(per_bin * static_cast<double>(first));
  const double bent =
      1.0 - 0.5 / std::max(1.0 - m1 * m1 / m2, 1e-3);  // below 0 where the tail ends
  const double shape = std::clamp(m1 + bent, 0.0, 1.0);
  const double scale = m1 * (1.0 - std::clamp(bent, -2.0, 0.0));
  const double times = above / (rate * size);
  if (times <= 1.0) return start_us;
  const double growth =
      std::fabs(shape) < 1e-3 ? std::log(times) : (std::pow(times, shape) - 1.0) / shape;
  const double most_us = kBeyondSeen * static_cast<double>(kFirstBinUs) *
                         std::exp(per_bin * static_cast<double>(last + 1));
  return std::min(start_us * (1.0 + scale * growth), most_us);
}

Nanoseconds AdaptiveLiveness::suspect_at(double rate) const {
  if (last_ns_ == kNever || gaps_ < kYoungest) return kNever;
  const Borne borne = losses_to_bear(kLossShare * rate);
  // Where losses are borne, most silences end long before the margin counts.
  const double late_rate = (1.0 - kLossShare) * rate / std::sqrt(borne.chance);
  double margin_us = residual_quantile(std::min(late_rate, 0.5));
  if (usual_error_us_ > 0.0F) {
    const float wider = recent_error_us_ / usual_error_us_ / kWiderThanChance;
    margin_us *= static_cast<double>(std::clamp(wider, 1.0F, kWidenMax));
  }
  // What few residuals say is not much.
  margin_us *= 1.0 + kYouth / static_cast<double>(std::max(residuals_, 1U));
  margin_us = std::max(margin_us, static_cast<double>(floor_us_));
  const double period_us = static_cast<double>(std::max(period_us_, recent_us_));
  const double silence_us = (1.0 + borne.losses) * period_us + margin_us;
  const Nanoseconds from_ns = follows_plan() ? plan_ns_ : last_ns_;
  const Nanoseconds at_ns = saturating_add(from_ns, static_cast<Nanoseconds>(silence_us * 1e3));
  return std::max(at_ns, last_ns_);
}

}  // namespace driftlock
