#include "src/predict/tail_calibrator.hpp"

#include <algorithm>
#include <cmath>

namespace driftlock {
namespace {

// As far out as a fit with this many points allows, at most 5% of all.
constexpr double kTailShareMost = 0.05;
constexpr double kTailShareLeast = 0.01;
constexpr double kTailPoints = 200.0;
constexpr std::size_t kTailLeast = 20;
constexpr double kSmallShape = 1e-6;
constexpr double kDriftDeviations = 6.0;

// -ln of the generalized Pareto survival. Past the end of a bounded tail it goes on in a straight
// line, so that higher scores stay apart.
double pareto_strangeness(double excess, double shape, double scale) {
  if (std::fabs(shape) < kSmallShape) return excess / scale;
  constexpr double kEnd = 0.1;  // of the way that is left, at which the line takes over
  const double left = 1.0 - shape * excess / scale;
  if (left > kEnd) return -std::log(left) / shape;
  return -std::log(kEnd) / shape + (kEnd - left) / (kEnd * shape);
}

}  // namespace

TailCalibrator::TailCalibrator(std::size_t window) : window_(window) {
  scores_.reserve(window);
}

void TailCalibrator::learn(double score) {
  if (scores_.size() < window_) {
    scores_.push_back(score);
  } else {
    scores_[next_] = score;
    next_ = (next_ + 1) % window_;
  }
  ++since_fit_;
  const bool first = sorted_.empty() && scores_.size() >= kFirstFit;
  // Young, at each growth by a quarter; later so that sorting costs little per score.
  const std::size_t pace = sorted_.size() < 4 * kRefitEvery
                               ? std::max<std::size_t>(sorted_.size() / 4, 16)
                               : std::max<std::size_t>(sorted_.size() / 32, kRefitEvery);
  if (first || (!sorted_.empty() && since_fit_ >= pace)) refit();
}

// The scores of the last kRefitEvery should lie on both sides of the median alike.
void TailCalibrator::drop_after_drift() {
  if (since_fit_ < kRefitEvery || sorted_.size() < 4 * kRefitEvery) return;
  const double median = sorted_[sorted_.size() / 2];
  std::vector<double> latest;
  const std::size_t end = scores_.size() < window_ ? scores_.size() : next_ + window_;
  for (std::size_t i = end - kRefitEvery; i < end; ++i) latest.push_back(scores_[i % window_]);
  const auto above = static_cast<double>(
      std::count_if(latest.begin(), latest.end(), [&](double s) { return s > median; }));
  const auto count = static_cast<double>(kRefitEvery);
  if (std::fabs(above - count / 2.0) < kDriftDeviations * std::sqrt(count) / 2.0) return;
  scores_ = std::move(latest);
  scores_.reserve(window_);
  next_ = 0;
  ++drifts_;
}

void TailCalibrator::refit() {
  drop_after_drift();
  since_fit_ = 0;
  sorted_ = scores_;
  std::sort(sorted_.begin(), sorted_.end());
  fit_tail();
}

void TailCalibrator::fit_tail() {
  const std::size_t n = sorted_.size();
  const auto count = static_cast<double>(n);
  const auto in_tail = static_cast<std::size_t>(
      count * std::clamp(kTailPoints / count, kTailShareLeast, kTailShareMost));
  tail_scale_ = 0.0;
  if (in_tail < kTailLeast) return;
  tail_start_ = sorted_[n - in_tail - 1];
  tail_share_ = static_cast<double>(in_tail) / static_cast<double>(n);
  double mean = 0.0;      // E[x]
  double weighted = 0.0;  // E[x (1 - F(x))]
  for (std::size_t i = 0; i < in_tail; ++i) {
    const double excess = sorted_[n - in_tail + i] - tail_start_;
    const double rank = (static_cast<double>(i) + 0.65) / static_cast<double>(in_tail);
    mean += excess;
    weighted += excess * (1.0 - rank);
  }
  mean /= static_cast<double>(in_tail);
  weighted /= static_cast<double>(in_tail);
  const double denominator = mean - 2.0 * weighted;
  if (!(mean > 0.0) || !(denominator > 0.0)) return;
  tail_shape_ = mean / denominator - 2.0;
  tail_scale_ = 2.0 * mean * weighted / denominator;
}

double TailCalibrator::strangeness(double score) const {
  if (sorted_.empty()) return 0.0;
  if (tail_scale_ > 0.0 && score > tail_start_) {
    return -std::log(tail_share_) +
           pareto_strangeness(score - tail_start_, tail_shape_, tail_scale_);
  }
  const auto n = static_cast<double>(sorted_.size());
  const auto above = sorted_.end() - std::lower_bound(sorted_.begin(), sorted_.end(), score);
  const double strangeness = -std::log((static_cast<double>(above) + 0.5) / (n + 0.5));
  if (above > 0 || tail_scale_ > 0.0) return strangeness;
  // Above all that is known and no tail to go by: in step with the distance.
  const double spread = sorted_.back() - sorted_.front();
  return strangeness + (spread > 0.0 ? (score - sorted_.back()) / spread : 0.0);
}

bool TailCalibrator::alarm(double score, double rate) const {
  return reaches(rate) && strangeness(score) >= -std::log(rate);
}

}  // namespace driftlock
