#include "src/predict/evaluation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "src/base/assert.hpp"

namespace driftlock {

double roc_auc(std::span<const double> scores, const std::vector<bool>& strange) {
  DRIFTLOCK_ASSERT(scores.size() == strange.size());
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
  double rank_sum = 0.0;
  std::size_t positives = 0;
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    while (end < order.size() && scores[order[end]] == scores[order[begin]]) ++end;
    const double rank = static_cast<double>(begin + end + 1) / 2.0;
    for (std::size_t i = begin; i < end; ++i) {
      if (!strange[order[i]]) continue;
      rank_sum += rank;
      ++positives;
    }
    begin = end;
  }
  const auto p = static_cast<double>(positives);
  const auto n = static_cast<double>(scores.size() - positives);
  return p == 0.0 || n == 0.0 ? 0.5 : (rank_sum - p * (p + 1.0) / 2.0) / (p * n);
}

Spread spread_of(std::span<const double> values) {
  Spread spread;
  if (values.empty()) return spread;
  const auto n = static_cast<double>(values.size());
  spread.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0.0;
  for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
  spread.deviation = values.size() > 1 ? std::sqrt(squares / (n - 1.0)) : 0.0;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  spread.least = *least;
  spread.most = *most;
  return spread;
}

double quantile_of(std::vector<double> values, double q) {
  if (values.empty()) return 0.0;
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), nth, values.end());
  if (below + 1 >= values.size()) return *nth;
  const double above = *std::min_element(nth + 1, values.end());
  return *nth + (at - static_cast<double>(below)) * (above - *nth);
}

}  // namespace driftlock
