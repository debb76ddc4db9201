// ForecastCurve: what is foreseen of a clock's offset as a function of the time ahead: mean and
// variance as polynomials, so that they can be published, stored and scored. A value.
#pragma once

#include <array>
#include <cstddef>

namespace driftlock {

using ForecastMean = std::array<double, 3>;  // ns, ns/s, ns/s^2: coefficients of 1, t, t^2

struct ForecastCurve {
  ForecastMean mean{};
  std::array<double, 6> variance{};  // ns^2 by powers of s

  [[nodiscard]] double mean_at(double ahead_s) const {
    return mean[0] + ahead_s * (mean[1] + ahead_s * mean[2]);
  }
  [[nodiscard]] double variance_at(double ahead_s) const {
    double sum = 0.0;
    for (std::size_t i = variance.size(); i-- > 0;) sum = sum * ahead_s + variance[i];
    return sum;
  }
  // Adds one member of a mixture: its own variance, and that of its mean about `centre`.
  void blend(double weight, const ForecastCurve& member, const ForecastMean& centre) {
    const double x = member.mean[0] - centre[0];
    const double y = member.mean[1] - centre[1];
    const double d = member.mean[2] - centre[2];
    const std::array<double, 6> spread{x * x, 2 * x * y, y * y + 2 * x * d, 2 * y * d, d * d, 0.0};
    for (std::size_t i = 0; i < variance.size(); ++i) {
      variance[i] += weight * (member.variance[i] + spread[i]);
    }
  }
};

}  // namespace driftlock
