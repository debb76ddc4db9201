#include "src/clock/scoreboard.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

constexpr double kMemory = 1024.0 * Scoreboard::kPerWindow;  // evaluations
// Chi-square with one degree of freedom, 99.9%: errors within it need no stretching.
constexpr double kExpectedWorst = 10.83;
constexpr double kExpertPrior = 0.1;  // of all experts together; the rest is the mixture's
constexpr double kPriorWindows = 4.0;
constexpr double kLeastWeight = 1e-3;
constexpr double kLeastSquare = 1e-12;  // forecasts that are exact
constexpr double kEvidence = 2.0;       // windows before a horizon's own weights count

double mean_at(const ForecastMean& mean, double ahead_s) {
  return mean[0] + ahead_s * (mean[1] + ahead_s * mean[2]);
}

}  // namespace

double Scoreboard::horizon_s(double interval_s, std::size_t index) {
  return std::ldexp(4.0 * interval_s, static_cast<int>(index));
}

Scoreboard::Scoreboard(double interval_s, std::size_t straight, std::size_t drifting)
    : straight_(straight), horizons_(kHorizons) {
  const std::size_t experts = straight + drifting;
  DRIFTLOCK_ASSERT(interval_s > 0.0);
  for (std::size_t i = 0; i < kHorizons; ++i) {
    Horizon& horizon = horizons_[i];
    horizon.ahead_s = horizon_s(interval_s, i);
    horizon.spacing_s = std::max(interval_s, horizon.ahead_s / kPerWindow);
    horizon.experts.resize(experts);
    for (Pending& pending : horizon.pending) pending.experts.resize(experts);
  }
}

void Scoreboard::score(double now_s, double offset_ns, double measurement_ns2) {
  const Belief mixture_alone;
  const Belief* shorter = &mixture_alone;
  for (Horizon& horizon : horizons_) {
    while (horizon.size > 0) {
      const Pending& oldest = horizon.pending[horizon.first];
      const double elapsed = now_s - oldest.issued_s;
      if (elapsed < 0.99 * horizon.ahead_s) break;
      // After a long silence the forecast belongs to another horizon.
      if (elapsed < 1.5 * horizon.ahead_s) {
        evaluate(horizon, oldest, elapsed, offset_ns, measurement_ns2);
      }
      horizon.first = (horizon.first + 1) % kPerWindow;
      --horizon.size;
    }
    if (horizon.until_weighed <= 0 && horizon.count > 0.0) {
      horizon.until_weighed = static_cast<int>(kPerWindow);
      weigh(horizon, *shorter, straight_);
    }
    shorter = &horizon.belief;
  }
}

void Scoreboard::evaluate(Horizon& horizon, const Pending& pending, double elapsed_s,
                          double offset_ns, double measurement_ns2) {
  // All errors in units of what the mixture foresaw, so that a doubtful start weighs no more.
  const double foreseen = pending.mixture.variance_at(elapsed_s) + measurement_ns2;
  const auto square = [&](const ForecastMean& mean) {
    const double error = offset_ns - mean_at(mean, elapsed_s);
    return error * error / foreseen;
  };
  horizon.age += 1.0;
  const double discount = 1.0 - 1.0 / std::min(kMemory, 2.0 * kPerWindow + horizon.age / 2.0);
  horizon.count = horizon.count * discount + 1.0;
  horizon.mixture = horizon.mixture * discount + square(pending.mixture.mean);
  for (std::size_t i = 0; i < horizon.experts.size(); ++i) {
    horizon.experts[i] = horizon.experts[i] * discount + square(pending.experts[i]);
  }
  const double published = offset_ns - pending.published.mean_at(elapsed_s);
  const double variance = pending.published.variance_at(elapsed_s) + measurement_ns2;
  constexpr double kFading = 1.0 - 1.0 / kMemory;
  horizon.worst = std::max(horizon.worst * kFading, published * published / variance);
  --horizon.until_weighed;
}

// Few windows say little: the mean square is drawn to the lower quartile of all, as if that had
// been seen kPriorWindows times. `shorter` is what holds at the next shorter horizon, the prior of
// this one: where the mixture was beaten there, the filters compete freely here. A drift is not
// handed on: it must prove itself at each horizon.
void Scoreboard::weigh(Horizon& horizon, const Belief& shorter, std::size_t straight) {
  const double windows = horizon.count * horizon.spacing_s / horizon.ahead_s;
  const std::size_t experts = horizon.experts.size();
  std::vector<double> weights(horizon.experts);
  const auto quartile = weights.begin() + static_cast<std::ptrdiff_t>(experts / 4);
  std::nth_element(weights.begin(), quartile, weights.end());
  const double usual = *quartile / horizon.count;
  const auto evidence = [&](double squares) {
    const double mean =
        (windows * squares / horizon.count + kPriorWindows * usual) / (windows + kPriorWindows);
    return -0.5 * windows * std::log(std::max(mean, kLeastSquare));
  };
  const double mixture = std::clamp(shorter.mixture, 1e-3, 1.0 - kExpertPrior);
  const double own = evidence(horizon.mixture);
  std::fill(weights.begin(), weights.end(), 1.0 / static_cast<double>(experts));
  for (const Belief::Share& share : shorter.shares) {
    if (share.expert < straight) weights[share.expert] += share.weight;
  }
  double sum = mixture;  // all relative to the mixture's evidence
  for (std::size_t i = 0; i < experts; ++i) {
    weights[i] *= (1.0 - mixture) * std::exp(std::min(evidence(horizon.experts[i]) - own, 600.0));
    sum += weights[i];
  }
  Belief belief{mixture / sum, {}};
  double kept = belief.mixture;
  for (std::size_t i = 0; i < experts; ++i) {
    if (weights[i] < kLeastWeight * sum) continue;
    belief.shares.push_back({i, weights[i] / sum});
    kept += weights[i] / sum;
  }
  belief.mixture /= kept;
  for (Belief::Share& share : belief.shares) share.weight /= kept;
  horizon.belief = std::move(belief);
}

bool Scoreboard::due(const Horizon& horizon, double now_s) {
  if (horizon.size == 0) return true;
  const std::size_t newest = (horizon.first + horizon.size - 1) % kPerWindow;
  return horizon.size < kPerWindow &&
         now_s - horizon.pending[newest].issued_s >= 0.99 * horizon.spacing_s;
}

bool Scoreboard::wants_record(double now_s) const {
  return std::any_of(horizons_.begin(), horizons_.end(),
                     [&](const Horizon& horizon) { return due(horizon, now_s); });
}

void Scoreboard::record(double now_s, const ForecastCurve& mixture,
                        const std::vector<ForecastMean>& experts,
                        const std::array<ForecastCurve, kHorizons>& published) {
  for (std::size_t i = 0; i < kHorizons; ++i) {
    Horizon& horizon = horizons_[i];
    if (!due(horizon, now_s)) continue;
    DRIFTLOCK_ASSERT(experts.size() == horizon.experts.size());
    Pending& pending = horizon.pending[(horizon.first + horizon.size) % kPerWindow];
    pending.issued_s = now_s;
    pending.mixture = mixture;
    pending.published = published[i];
    std::copy(experts.begin(), experts.end(), pending.experts.begin());
    ++horizon.size;
  }
}

void Scoreboard::forget_pending() {
  for (Horizon& horizon : horizons_) horizon.size = 0;
}

std::size_t Scoreboard::nearest(double ahead_s) const {
  std::size_t i = 0;
  while (i + 1 < horizons_.size() && horizons_[i].ahead_s * 1.415 < ahead_s) ++i;
  return i;
}

const Scoreboard::Belief& Scoreboard::belief(double ahead_s) const {
  static const Belief kMixtureAlone;
  const std::size_t wanted = nearest(ahead_s);
  std::size_t i = wanted;
  while (i > 0 && horizons_[i].count * horizons_[i].spacing_s < kEvidence * horizons_[i].ahead_s) {
    --i;
  }
  const Belief& belief = horizons_[i].belief;
  const bool drifts = std::any_of(belief.shares.begin(), belief.shares.end(),
                                  [&](const auto& share) { return share.expert >= straight_; });
  return i < wanted && drifts ? kMixtureAlone : belief;
}

double Scoreboard::stretch(double ahead_s) const {
  const std::size_t middle = nearest(ahead_s);
  const std::size_t first = middle > 0 ? middle - 1 : 0;
  const std::size_t last = std::min(middle + 1, kHorizons - 1);
  double worst = 0.0;
  for (std::size_t i = first; i <= last; ++i) worst = std::max(worst, horizons_[i].worst);
  return std::max(1.0, worst / kExpectedWorst);
}

}  // namespace driftlock
