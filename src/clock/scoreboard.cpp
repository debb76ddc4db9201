#include "src/clock/scoreboard.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

constexpr double kMemory = 1024.0 * Scoreboard::kPerWindow;  // evaluations
// Chi-square with one degree of freedom, 99.9%: errors within it need no stretching.
constexpr double kExpectedWorst = 10.83;
// Nor do errors within the statistical bound (k sigma, squared), the readings' noise included.
constexpr double kBoundSquared = 20.25;
constexpr double kMostWorst = 100.0;  // that a doubtful sample may count there
// Before any evidence: all filters together, all windows together; the rest is the mixture's.
constexpr double kFiltersPrior = 0.1;
constexpr double kWindowsPrior = 0.12;
constexpr double kUsualWindow = 16.0;  // samples, at the shortest horizon (4 intervals)
constexpr double kLeastAfresh = 0.01;  // share of these priors, whatever the shorter horizons say
constexpr double kPerWindowOf = 0.5;   // log likelihood for each unit of log(mean square)
constexpr double kCombining = 3.0;     // the same, of having any evidence at all
constexpr double kLeastWeight = 1e-3;
constexpr double kLeastSquare = 1e-12;  // forecasts that are exact
constexpr double kMostGrowth = 4.0;     // of squared errors from a horizon to the next
constexpr double kAnother = 1.5;        // a burst to come against the largest seen, squared
constexpr double kUnseen = 2.0;         // widens what nobody has seen: 1 + this over the windows
constexpr double kFewestWindows = 0.25;
constexpr double kEvidence = 2.0;  // windows before a horizon's own weights count

double mean_at(const ForecastMean& mean, double ahead_s) {
  return mean[0] + ahead_s * (mean[1] + ahead_s * mean[2]);
}

}  // namespace

double Scoreboard::horizon_s(double interval_s, std::size_t index) {
  return std::ldexp(4.0 * interval_s, static_cast<int>(index));
}

Scoreboard::Scoreboard(double interval_s, const Experts& experts)
    : experts_(experts), priors_(experts.all()), horizons_(kHorizons) {
  DRIFTLOCK_ASSERT(interval_s > 0.0);
  for (std::size_t i = 0; i < kHorizons; ++i) {
    Horizon& horizon = horizons_[i];
    horizon.ahead_s = horizon_s(interval_s, i);
    horizon.spacing_s = std::max(interval_s, horizon.ahead_s / kPerWindow);
    horizon.experts.resize(experts.all());
    for (Pending& pending : horizon.pending) pending.experts.resize(experts.all());
  }
}

void Scoreboard::score(double now_s, double offset_ns, double measurement_ns2, double most) {
  ++samples_;
  const Belief mixture_alone;
  const Belief* shorter = &mixture_alone;
  for (std::size_t i = 0; i < kHorizons; ++i) {
    Horizon& horizon = horizons_[i];
    while (horizon.size > 0) {
      const Pending& oldest = horizon.pending[horizon.first];
      const double elapsed = now_s - oldest.issued_s;
      if (elapsed < 0.99 * horizon.ahead_s) break;
      // After a long silence the forecast belongs to another horizon.
      if (elapsed < 1.5 * horizon.ahead_s) {
        evaluate(horizon, oldest, elapsed, offset_ns, measurement_ns2, most);
      }
      horizon.first = (horizon.first + 1) % kPerWindow;
      --horizon.size;
    }
    if (horizon.until_weighed <= 0 && horizon.count > 0.0) {
      horizon.until_weighed = static_cast<int>(kPerWindow);
      weigh(i, *shorter);
    }
    shorter = &horizon.belief;
  }
}

void Scoreboard::evaluate(Horizon& horizon, const Pending& pending, double elapsed_s,
                          double offset_ns, double measurement_ns2, double most) {
  // All errors in units of what the mixture foresaw, so that a doubtful start weighs no more.
  const double foreseen = pending.mixture.variance_at(elapsed_s) + measurement_ns2;
  const auto square = [&](const ForecastMean& mean) {
    const double error = offset_ns - mean_at(mean, elapsed_s);
    return std::min(error * error / foreseen, most);
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
  const double limit = std::max(most, kMostWorst);
  const double normalized = published * published / variance;
  horizon.published = horizon.published * discount + std::min(normalized, most);
  horizon.worst = std::max(horizon.worst * kFading, std::min(normalized, limit));
  // A forecast for longer than there had been samples was a guess, and published as one.
  const bool was_guess = pending.issued_s < horizon.ahead_s;
  const double seen = was_guess ? 0.0 : std::min(normalized, limit) * variance;
  horizon.largest = std::max(horizon.largest * discount, seen);
  --horizon.until_weighed;
}

// Where the mixture was best at the next shorter horizon all compete afresh: it may be good for a
// second and bad for an hour. What has beaten it there is likely to beat it here, and a window
// shares that with the next longer one. A drift is not handed on, it must prove itself at each
// horizon.
void Scoreboard::fill_priors(std::size_t index, const Belief& shorter) {
  double beaten = 0.0;
  for (const Belief::Share& share : shorter.shares) {
    if (!experts_.drifts(share.expert)) beaten += share.weight;
  }
  const double afresh = std::max(1.0 - beaten, kLeastAfresh);
  const std::size_t filters = experts_.straight + experts_.drifting;
  std::fill_n(priors_.begin(), filters, afresh * kFiltersPrior / static_cast<double>(filters));
  fill_window_priors(index, afresh * kWindowsPrior);
  const double handed = (1.0 - afresh) / std::max(beaten, kLeastAfresh);
  for (const Belief::Share& share : shorter.shares) {
    const std::size_t i = share.expert;
    if (experts_.drifts(i)) continue;
    const bool shared = experts_.is_window(i) && i + 1 < priors_.size();
    priors_[i] += handed * share.weight * (shared ? 0.5 : 1.0);
    if (shared) priors_[i + 1] += handed * share.weight * 0.5;
  }
}

// Windows that are not yet full are all the same, and one much longer than the horizon is a bold
// guess: it must prove itself at shorter horizons first.
void Scoreboard::fill_window_priors(std::size_t index, double sum) {
  const double usual = std::ldexp(kUsualWindow, static_cast<int>(index));
  const std::size_t filters = experts_.straight + experts_.drifting;
  double all = 0.0;
  for (std::size_t i = 0; i < experts_.windows.size(); ++i) {
    const std::size_t samples = experts_.windows[i];
    const double longer = std::max(static_cast<double>(samples) / usual, 1.0);
    const double prior = samples / 2 > samples_ ? 0.0 : 1.0 / (longer * std::sqrt(longer));
    priors_[filters + i] = prior;
    all += prior;
  }
  for (std::size_t i = filters; i < priors_.size() && all > 0.0; ++i) priors_[i] *= sum / all;
}

// The log likelihood of n windows' errors, -n/2 log(mean square), against the mixture's; and some
// for any evidence, because combined forecasts want weights that fall with the mean square. Among
// hundreds of experts some are lucky: what luck can do over n windows, they are not credited.
void Scoreboard::weigh(std::size_t index, const Belief& shorter) {
  fill_priors(index, shorter);
  Horizon& horizon = horizons_[index];
  const double windows = horizon.count * horizon.spacing_s / horizon.ahead_s;
  const double strength = kPerWindowOf * windows + kCombining * windows / (windows + 1.0);
  const double luck = 1.0 / std::sqrt(windows);
  const auto log_square = [&](double squares) {
    return std::log(std::max(squares / horizon.count, kLeastSquare));
  };
  const double own = log_square(horizon.mixture);
  const std::size_t experts = horizon.experts.size();
  std::vector<double> weights(experts);
  double mixture = 1.0;
  for (const double prior : priors_) mixture -= prior;
  double sum = mixture;  // all relative to the mixture's evidence
  for (std::size_t i = 0; i < experts; ++i) {
    const double better = own - log_square(horizon.experts[i]);
    const double credited = better > 0.0 ? std::max(better - luck, 0.0) : better;
    weights[i] = priors_[i] * std::exp(std::min(strength * credited, 600.0));
    sum += weights[i];
  }
  Belief belief{mixture / sum, {}};
  double kept = belief.mixture;
  for (std::size_t i = 0; i < experts; ++i) {
    if (weights[i] < kLeastWeight * sum) continue;
    const double scale =
        (windows * horizon.experts[i] / horizon.count + kEvidence) / (windows + kEvidence);
    belief.shares.push_back({i, weights[i] / sum, scale});
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

void Scoreboard::shift_pending(double step_ns, std::size_t experts) {
  for (Horizon& horizon : horizons_) {
    for (Pending& pending : horizon.pending) {
      pending.mixture.mean[0] += step_ns;
      pending.published.mean[0] += step_ns;
      for (std::size_t i = 0; i < experts; ++i) pending.experts[i][0] += step_ns;
    }
  }
}

std::size_t Scoreboard::nearest(double ahead_s) const {
  std::size_t i = 0;
  while (i + 1 < horizons_.size() && horizons_[i].ahead_s * 1.415 < ahead_s) ++i;
  return i;
}

bool Scoreboard::has_evidence(std::size_t index) const {
  const Horizon& horizon = horizons_[index];
  return horizon.count * horizon.spacing_s >= kEvidence * horizon.ahead_s;
}

const Scoreboard::Belief& Scoreboard::belief(double ahead_s) const {
  static const Belief kMixtureAlone;
  const std::size_t wanted = nearest(ahead_s);
  std::size_t i = wanted;
  while (i > 0 && !has_evidence(i)) --i;
  const Belief& belief = horizons_[i].belief;
  const bool drifts = std::any_of(belief.shares.begin(), belief.shares.end(),
                                  [&](const auto& share) { return experts_.drifts(share.expert); });
  return i < wanted && drifts ? kMixtureAlone : belief;
}

// Where nothing has been seen of a horizon yet, the mixture's errors at the shorter ones are
// continued as they grew: a model that is ever more wrong with distance will be so further on.
Scoreboard::Stretch Scoreboard::stretch(double ahead_s) const {
  const std::size_t wanted = nearest(ahead_s);
  std::size_t seen = wanted;
  while (seen > 0 && !has_evidence(seen)) --seen;
  const std::size_t first = seen > 0 ? seen - 1 : 0;
  const std::size_t last = std::min(seen + 1, kHorizons - 1);
  Stretch most;
  for (std::size_t i = first; i <= last; ++i) {
    const Horizon& horizon = horizons_[i];
    most.forecast = std::max(most.forecast, horizon.worst / kExpectedWorst);
    most.total = std::max(most.total, horizon.worst / kBoundSquared);
    if (i <= seen) {
      most.least_ns2 = std::max(most.least_ns2, kAnother * horizon.largest / kBoundSquared);
    }
    if (has_evidence(i)) most.total = std::max(most.total, horizon.published / horizon.count);
  }
  if (seen == wanted) return most;
  // So few spans as long as this horizon are no sample of what the clock does over one.
  const double spans = horizons_[seen].age * horizons_[seen].spacing_s / horizons_[wanted].ahead_s;
  most.forecast *= 1.0 + kUnseen / std::max(spans, kFewestWindows);
  if (seen < 2) return most;
  const auto mean = [&](std::size_t i) { return horizons_[i].mixture / horizons_[i].count; };
  const double growth = std::clamp(std::sqrt(mean(seen) / mean(seen - 2)), 1.0, kMostGrowth);
  most.forecast =
      std::max(most.forecast, mean(seen)) * std::pow(growth, static_cast<double>(wanted - seen));
  return most;
}

}  // namespace driftlock
