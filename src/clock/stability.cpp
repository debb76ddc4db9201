#include "src/clock/stability.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

double second_difference(const std::vector<double>& x, std::size_t j, std::size_t m) {
  return x[j + 2 * m] - 2.0 * x[j + m] + x[j];
}

// Extreme of each window of `length` samples, by a monotone queue of indices.
template <typename Before>
std::vector<double> window_extremes(const std::vector<double>& x, std::size_t length,
                                    Before before) {
  std::vector<double> extremes;
  std::deque<std::size_t> queue;
  for (std::size_t k = 0; k < x.size(); ++k) {
    while (!queue.empty() && !before(x[queue.back()], x[k])) queue.pop_back();
    queue.push_back(k);
    if (queue.front() + length <= k) queue.pop_front();
    if (k + 1 >= length) extremes.push_back(x[queue.front()]);
  }
  return extremes;
}

constexpr std::size_t kTerms = 4;
using Row = std::array<double, kTerms>;

// What one unit of R, q1, q2, q3 brings to the Allan variance at tau, in ns^2/s^2.
Row basis(double tau) {
  return {3.0 / (tau * tau), 1.0 / tau, tau / 3.0, tau * tau * tau / 20.0};
}

// min |A c - 1| with c >= 0, by coordinate descent: few terms, no negative power.
Row nonnegative_fit(const std::vector<Row>& rows) {
  Row c{};
  std::vector<double> residual(rows.size(), 1.0);
  for (int sweep = 0; sweep < 20'000; ++sweep) {
    for (std::size_t i = 0; i < kTerms; ++i) {
      double along = 0.0;
      double norm = 0.0;
      for (std::size_t k = 0; k < rows.size(); ++k) {
        along += rows[k][i] * residual[k];
        norm += rows[k][i] * rows[k][i];
      }
      if (norm <= 0.0) continue;
      const double next = std::max(0.0, c[i] + along / norm);
      for (std::size_t k = 0; k < rows.size(); ++k) residual[k] -= (next - c[i]) * rows[k][i];
      c[i] = next;
    }
  }
  return c;
}

}  // namespace

double allan_deviation(const std::vector<double>& phase_s, double interval_s,
                       std::size_t averaging) {
  DRIFTLOCK_ASSERT(averaging > 0 && phase_s.size() > 2 * averaging);
  const double tau = interval_s * static_cast<double>(averaging);
  double sum = 0.0;
  double count = 0.0;
  for (std::size_t j = 0; j + 2 * averaging < phase_s.size(); j += averaging) {
    const double d = second_difference(phase_s, j, averaging);
    sum += d * d;
    count += 1.0;
  }
  return std::sqrt(sum / (2.0 * count)) / tau;
}

double overlapping_allan_deviation(const std::vector<double>& phase_s, double interval_s,
                                   std::size_t averaging) {
  DRIFTLOCK_ASSERT(averaging > 0 && phase_s.size() > 2 * averaging);
  const double tau = interval_s * static_cast<double>(averaging);
  double sum = 0.0;
  const std::size_t count = phase_s.size() - 2 * averaging;
  for (std::size_t j = 0; j < count; ++j) {
    const double d = second_difference(phase_s, j, averaging);
    sum += d * d;
  }
  return std::sqrt(sum / (2.0 * static_cast<double>(count))) / tau;
}

double modified_allan_deviation(const std::vector<double>& phase_s, double interval_s,
                                std::size_t averaging) {
  DRIFTLOCK_ASSERT(averaging > 0 && phase_s.size() >= 3 * averaging);
  const auto m = static_cast<double>(averaging);
  const double tau = interval_s * m;
  double window = 0.0;  // sum of D(i) over the present m samples
  for (std::size_t i = 0; i < averaging; ++i) window += second_difference(phase_s, i, averaging);
  double sum = window * window;
  const std::size_t count = phase_s.size() - 3 * averaging + 1;
  for (std::size_t j = 1; j < count; ++j) {
    window += second_difference(phase_s, j + averaging - 1, averaging) -
              second_difference(phase_s, j - 1, averaging);
    sum += window * window;
  }
  return std::sqrt(sum / (2.0 * static_cast<double>(count))) / (m * tau);
}

double maximum_time_interval_error(const std::vector<double>& phase_s, std::size_t averaging) {
  DRIFTLOCK_ASSERT(averaging > 0 && phase_s.size() > averaging);
  const auto highest = window_extremes(phase_s, averaging + 1, std::greater<>());
  const auto lowest = window_extremes(phase_s, averaging + 1, std::less<>());
  double most = 0.0;
  for (std::size_t k = 0; k < highest.size(); ++k) most = std::max(most, highest[k] - lowest[k]);
  return most;
}

Deviations deviations_at(const std::vector<double>& phase_s, double interval_s,
                         std::size_t averaging) {
  Deviations at;
  at.averaging = averaging;
  at.tau_s = interval_s * static_cast<double>(averaging);
  at.adev = allan_deviation(phase_s, interval_s, averaging);
  at.oadev = overlapping_allan_deviation(phase_s, interval_s, averaging);
  at.mdev = modified_allan_deviation(phase_s, interval_s, averaging);
  at.tdev_s = at.tau_s * at.mdev / std::sqrt(3.0);
  at.mtie_s = maximum_time_interval_error(phase_s, averaging);
  return at;
}

std::vector<Deviations> analyze_stability(const std::vector<double>& phase_s, double interval_s) {
  std::vector<Deviations> all;
  for (std::size_t m = 1; 3 * m < phase_s.size(); m *= 2) {
    all.push_back(deviations_at(phase_s, interval_s, m));
  }
  return all;
}

// Scaled so that every column has norm 1: the terms differ by many orders of magnitude.
NoiseFit fit_noise(const std::vector<Deviations>& deviations) {
  NoiseFit fit;
  if (deviations.empty()) return fit;
  std::vector<Row> rows;
  Row scale{};
  fit.flicker_floor = deviations.front().oadev;
  for (const Deviations& at : deviations) {
    fit.flicker_floor = std::min(fit.flicker_floor, at.oadev);
    const double variance = at.oadev * at.oadev * 1e18;  // ns^2/s^2
    if (variance <= 0.0) continue;
    Row row = basis(at.tau_s);
    for (std::size_t i = 0; i < kTerms; ++i) {
      row[i] /= variance;
      scale[i] += row[i] * row[i];
    }
    rows.push_back(row);
  }
  for (double& s : scale) s = s > 0.0 ? std::sqrt(s) : 1.0;
  for (Row& row : rows) {
    for (std::size_t i = 0; i < kTerms; ++i) row[i] /= scale[i];
  }
  const Row c = nonnegative_fit(rows);
  fit.white_phase_ns = std::sqrt(c[0] / scale[0]);
  fit.process = {c[1] / scale[1], c[2] / scale[2], c[3] / scale[3]};
  return fit;
}

}  // namespace driftlock
