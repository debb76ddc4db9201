// Least squares over a window of n samples (t_i, z_i), both counted from the latest:
//
//   slope b = (n Stz - St Sz) / (n Stt - St^2),  offset at the latest a = (Sz - b St) / n.
//
// Moving the origin by (dt, dz) changes the sums in closed form, so a sample costs the same
// whatever the window. Rounding adds up; once in each turn of the ring all sums are made anew.
#include "src/clock/window_forecasts.hpp"

#include <algorithm>

namespace driftlock {

WindowForecasts::WindowForecasts() : ring_(kLargest) {}

void WindowForecasts::start() {
  count_ = 0;
  sums_.fill({});
}

void WindowForecasts::Sums::add(double time_s, double offset_ns, double sign) {
  count += sign;
  t += sign * time_s;
  tt += sign * time_s * time_s;
  z += sign * offset_ns;
  tz += sign * time_s * offset_ns;
}

void WindowForecasts::Sums::move(double dt_s, double dz_ns) {
  tz += count * dt_s * dz_ns - dt_s * z - dz_ns * t;
  tt += count * dt_s * dt_s - 2.0 * dt_s * t;
  t -= count * dt_s;
  z -= count * dz_ns;
}

const WindowForecasts::Sample& WindowForecasts::back(std::size_t age) const {
  return ring_[(newest_ + kLargest - age) % kLargest];
}

WindowForecasts::Sums WindowForecasts::summed(const std::vector<Sample>& ring, std::size_t newest,
                                              std::size_t window) {
  Sums sums;
  const Sample& origin = ring[newest];
  for (std::size_t age = 0; age < window; ++age) {
    const Sample& sample = ring[(newest + kLargest - age) % kLargest];
    sums.add(sample.time_s - origin.time_s, sample.offset_ns - origin.offset_ns, 1.0);
  }
  return sums;
}

void WindowForecasts::add(double now_s, double offset_ns, double filtered_ns) {
  if (count_ > 0) {
    const Sample latest = back(0);
    for (std::size_t i = 0; i < kRegressions; ++i) {
      const std::size_t window = kSmallest << i;
      if (count_ >= window) {
        const Sample& leaving = back(window - 1);
        sums_[i].add(leaving.time_s - latest.time_s, leaving.offset_ns - latest.offset_ns, -1.0);
      }
      sums_[i].move(now_s - latest.time_s, offset_ns - latest.offset_ns);
    }
  }
  newest_ = (newest_ + 1) % kLargest;
  ring_[newest_] = {now_s, offset_ns, filtered_ns};
  count_ = std::min(count_ + 1, kLargest);
  for (std::size_t i = 0; i < kRegressions; ++i) {
    if (newest_ == 0) {
      sums_[i] = summed(ring_, newest_, std::min(count_, kSmallest << i));
    } else {
      sums_[i].count += 1.0;  // at the origin
    }
  }
}

void WindowForecasts::shift(double step_ns) {
  for (Sample& sample : ring_) {
    sample.offset_ns += step_ns;
    sample.filtered_ns += step_ns;
  }
}

ForecastMean WindowForecasts::mean(std::size_t index, double now_s) const {
  if (count_ == 0) return {};
  const Sample& latest = back(0);
  double offset = latest.filtered_ns;
  double slope = 0.0;
  if (index < kRegressions) {
    const Sums& s = sums_[index];
    const double spread = s.count * s.tt - s.t * s.t;
    if (spread > 0.0) slope = (s.count * s.tz - s.t * s.z) / spread;
    offset = latest.offset_ns + (s.z - slope * s.t) / s.count;
  } else {
    const std::size_t window = kSmallestRate << (index - kRegressions);
    const Sample& old = back(std::min(window, count_) - 1);
    const double span = latest.time_s - old.time_s;
    if (span > 0.0) slope = (latest.filtered_ns - old.filtered_ns) / span;
  }
  return {offset + slope * (now_s - latest.time_s), slope, 0.0};
}

void WindowForecasts::append_means(std::vector<ForecastMean>& means) const {
  if (count_ == 0) {
    means.resize(means.size() + size());
    return;
  }
  for (std::size_t i = 0; i < size(); ++i) means.push_back(mean(i, back(0).time_s));
}

}  // namespace driftlock
