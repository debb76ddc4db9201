// DeviceClock: a NIC's free-running counter mapped to the node's ticks, by least squares over the
// last kSamples pairs of readings. Pure arithmetic; what reads the device is the port.
// writer: one control thread, add(); readers: the lcore, map().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "src/base/seqlock.hpp"

namespace driftlock {

// ticks = anchor_ticks + (device - anchor_device) * ticks_per_count.
struct DeviceClockMap {
  std::uint64_t anchor_device = 0;
  std::uint64_t anchor_ticks = 0;
  double ticks_per_count = 0.0;  // 0 = not known yet
  unsigned unused_bits = 0;      // 64 less the device's: 32 where it wraps every 2^32 counts

  [[nodiscard]] bool valid() const { return ticks_per_count > 0.0; }
  [[nodiscard]] std::uint64_t to_ticks(std::uint64_t device) const {
    const auto distance = static_cast<double>(
        static_cast<std::int64_t>((device - anchor_device) << unused_bits) >> unused_bits);
    return anchor_ticks +
           static_cast<std::uint64_t>(static_cast<std::int64_t>(distance * ticks_per_count));
  }
};

class DeviceClock {
 public:
  static constexpr std::size_t kSamples = 16;
  static constexpr std::size_t kSamplesMin = 4;  // below this the slope is mostly noise

  explicit DeviceClock(unsigned bits = 64) : unused_bits_(64 - bits) {}

  // The device's counter stood at `raw` when the node's stood at `ticks`.
  void add(std::uint64_t raw, std::uint64_t ticks);
  [[nodiscard]] DeviceClockMap map() const { return published_.load(); }

 private:
  struct Pair {
    std::uint64_t device = 0;
    std::uint64_t ticks = 0;
  };
  [[nodiscard]] bool was_set(std::uint64_t device, std::uint64_t ticks) const;
  [[nodiscard]] std::uint64_t unwrapped(std::uint64_t device, std::uint64_t ticks) const;

  unsigned unused_bits_;
  std::array<Pair, kSamples> pairs_{};  // of a counter that never wraps
  std::size_t count_ = 0;
  Seqlock<DeviceClockMap> published_;
};

}  // namespace driftlock
