// SeriesFeatures: a point of one series as numbers that detectors compare, against the series' own
// past: its level, its step, its distance from a short forecast, and from the same time of other
// days. All in deviations, from what was known before the point.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace driftlock::eval {

inline constexpr std::size_t kSeriesFeatures = 4;

// Seconds of "2014-04-01 00:05:00" (or with T), or of a number; below 0 where it is neither.
[[nodiscard]] double seconds_of(const std::string& timestamp);

class SeriesFeatures {
 public:
  // `season`: points in a day; 0: unknown.
  explicit SeriesFeatures(std::size_t season) : phases_(season) {}
  [[nodiscard]] std::array<double, kSeriesFeatures> next(double value);

 private:
  // A mean and a mean distance from it, both forgetting.
  struct Usual {
    double mean = 0.0;
    double spread = 0.0;
    std::size_t count = 0;
    [[nodiscard]] double deviations(double value) const;
    void learn(double value, double horizon);
  };

  std::vector<Usual> phases_;  // by time of day
  Usual level_;
  Usual step_;
  Usual forecast_error_;
  double forecast_ = 0.0;
  double before_ = 0.0;
  std::size_t count_ = 0;
};

}  // namespace driftlock::eval
