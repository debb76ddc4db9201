// Measures of a detector against labels. Pure.
#pragma once

#include <span>
#include <vector>

namespace driftlock {

// Area under the ROC curve: the chance that a strange point scores above an ordinary one, ties
// counting half (Mann-Whitney).
[[nodiscard]] double roc_auc(std::span<const double> scores, const std::vector<bool>& strange);

struct Spread {
  double mean = 0.0;
  double deviation = 0.0;  // of the sample
  double least = 0.0;
  double most = 0.0;
};
[[nodiscard]] Spread spread_of(std::span<const double> values);

// The q-quantile by linear interpolation between order statistics.
[[nodiscard]] double quantile_of(std::vector<double> values, double q);

}  // namespace driftlock
