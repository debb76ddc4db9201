#include "hw/device_clock.hpp"

#include <algorithm>
#include <cmath>

namespace driftlock {

// A counter that wraps is carried on: it has advanced by what it shows, and by as many whole turns
// as the node's ticks since then want.
std::uint64_t DeviceClock::unwrapped(std::uint64_t device, std::uint64_t ticks) const {
  if (unused_bits_ == 0 || count_ == 0) return device;
  const Pair& last = pairs_[(count_ - 1) % kSamples];
  const std::uint64_t advance = ((device - last.device) << unused_bits_) >> unused_bits_;
  const DeviceClockMap known = published_.load();
  if (!known.valid() || ticks <= last.ticks) return last.device + advance;
  const double turn = std::ldexp(1.0, static_cast<int>(64 - unused_bits_));
  const double expected = static_cast<double>(ticks - last.ticks) / known.ticks_per_count;
  const double turns = std::round((expected - static_cast<double>(advance)) / turn);
  return last.device + advance + static_cast<std::uint64_t>(std::max(turns, 0.0) * turn);
}

// A counter that has gone back was reset, one far from where it was foreseen was stepped: what was
// learnt before means nothing now. Steering (a PHC under ptp4l) changes the rate by far less.
bool DeviceClock::was_set(std::uint64_t device, std::uint64_t ticks) const {
  constexpr double kRate = 1e-3;
  const Pair& last = pairs_[(count_ - 1) % kSamples];
  if (device <= last.device || ticks <= last.ticks) return true;
  const DeviceClockMap known = published_.load();
  if (!known.valid()) return false;
  const Pair& oldest = pairs_[count_ <= kSamples ? 0 : count_ % kSamples];
  const std::uint64_t foreseen =
      known.anchor_ticks +
      static_cast<std::uint64_t>(static_cast<double>(device - last.device) * known.ticks_per_count);
  const auto off = static_cast<double>(static_cast<std::int64_t>(ticks - foreseen));
  return std::fabs(off) > kRate * static_cast<double>(ticks - oldest.ticks);
}

void DeviceClock::add(std::uint64_t raw, std::uint64_t ticks) {
  const std::uint64_t device = unwrapped(raw, ticks);
  if (count_ > 0 && was_set(device, ticks)) {
    count_ = 0;
    published_.store({});
  }
  pairs_[count_ % kSamples] = {device, ticks};
  ++count_;
  const std::size_t known = std::min(count_, kSamples);
  if (known < kSamplesMin) return;
  // Distances from the newest pair, so that doubles hold them exactly.
  double mean_device = 0.0;
  double mean_ticks = 0.0;
  const auto distance = [](std::uint64_t from, std::uint64_t to) {
    return static_cast<double>(static_cast<std::int64_t>(to - from));
  };
  for (std::size_t i = 0; i < known; ++i) {
    mean_device += distance(device, pairs_[i].device) / static_cast<double>(known);
    mean_ticks += distance(ticks, pairs_[i].ticks) / static_cast<double>(known);
  }
  double covariance = 0.0;
  double variance = 0.0;
  for (std::size_t i = 0; i < known; ++i) {
    const double x = distance(device, pairs_[i].device) - mean_device;
    covariance += x * (distance(ticks, pairs_[i].ticks) - mean_ticks);
    variance += x * x;
  }
  const double slope = covariance / variance;
  const double at_newest = mean_ticks - slope * mean_device;
  published_.store({device,
                    ticks + static_cast<std::uint64_t>(static_cast<std::int64_t>(at_newest)), slope,
                    unused_bits_});
}

}  // namespace driftlock
