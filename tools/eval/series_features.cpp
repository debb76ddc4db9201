#include "tools/eval/series_features.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace driftlock::eval {
namespace {

constexpr double kLong = 2000.0;  // points
constexpr double kForecast = 8.0;
constexpr double kDays = 5.0;
constexpr double kFarthest = 50.0;  // deviations

}  // namespace

double seconds_of(const std::string& timestamp) {
  std::tm time{};
  const int fields =
      std::sscanf(timestamp.c_str(), "%d-%d-%d%*1[ T]%d:%d:%d", &time.tm_year, &time.tm_mon,
                  &time.tm_mday, &time.tm_hour, &time.tm_min, &time.tm_sec);
  if (fields >= 5) {
    time.tm_year -= 1900;
    --time.tm_mon;
    return static_cast<double>(timegm(&time));
  }
  char* end = nullptr;
  const double number = std::strtod(timestamp.c_str(), &end);
  return end != timestamp.c_str() && *end == '\0' ? number : -1.0;
}

double SeriesFeatures::Usual::deviations(double value) const {
  if (count < 3) return 0.0;
  const double scale = 1.25 * spread + 1e-3 * std::fabs(mean) + 1e-12;
  return std::clamp((value - mean) / scale, -kFarthest, kFarthest);
}

void SeriesFeatures::Usual::learn(double value, double horizon) {
  ++count;
  const double weight = 1.0 / std::min(horizon, static_cast<double>(count));
  const double off = value - mean;
  mean += weight * off;
  if (count > 1) spread += weight * (std::fabs(off) - spread);
}

std::array<double, kSeriesFeatures> SeriesFeatures::next(double value) {
  if (count_ == 0) before_ = forecast_ = value;
  const double step = value - before_;
  const double error = value - forecast_;
  std::array<double, kSeriesFeatures> row{level_.deviations(value), step_.deviations(step),
                                          forecast_error_.deviations(error), 0.0};
  level_.learn(value, kLong);
  step_.learn(step, kLong);
  forecast_error_.learn(error, kLong);
  forecast_ += (value - forecast_) / std::min(kForecast, static_cast<double>(count_ + 1));
  if (!phases_.empty()) {
    Usual& phase = phases_[count_ % phases_.size()];
    // Few days tell little of the spread at one time of day: the whole series' counts beside it.
    if (phase.count >= 2) {
      const double scale = 1.25 * (0.5 * phase.spread + 0.25 * level_.spread) + 1e-12;
      row[3] = std::clamp((value - phase.mean) / scale, -kFarthest, kFarthest);
    }
    phase.learn(value, kDays);
  }
  before_ = value;
  ++count_;
  return row;
}

}  // namespace driftlock::eval
