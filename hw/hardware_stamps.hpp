// HardwareStamps: decides at start whether a NIC's receive stamps are used and how they become the
// node's ticks, and keeps the mapping up to date. What reads the NIC's clock and the PHC is given
// as functions, so that this is the same for every driver, and for none in tests. open() and
// calibrate(): one control thread; map(): the lcore.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "hw/device_clock.hpp"
#include "hw/stamp_clock.hpp"
#include "src/base/result.hpp"

namespace driftlock {

enum class StampPolicy {
  kAuto,     // used where they fit, else a remark
  kPhc,      // they are the PHC's nanoseconds: an Error where they are not
  kCounter,  // they are an even counter of any unit: an Error where they are not
  kOff,      // not used
};

// A clock stood at `value` at the middle of two tick counts that far apart.
struct PairedReading {
  std::uint64_t value = 0;
  std::uint64_t ticks = 0;
  std::uint64_t width_ticks = 0;
};

struct HardwareStampsOptions {
  StampPolicy policy = StampPolicy::kAuto;
  unsigned bits = 64;           // of the stamps, where they are the PHC's nanoseconds
  std::string phc = "the PHC";  // its name, for messages
  double ns_per_tick = 1.0;
};

class HardwareStamps {
 public:
  // Nothing where it cannot be read now (or ever).
  using Read = std::function<std::optional<PairedReading>()>;

  // `device` reads the clock that stamps packets, `phc` the PTP hardware clock; either may be null.
  HardwareStamps(HardwareStampsOptions options, Read device, Read phc);

  // Reads both clocks kReadings times, `pause` in between, and judges. An Error, saying what does
  // not fit, where the policy insists on what is not so.
  [[nodiscard]] Status open(const std::function<void()>& pause);
  // One more reading, where stamps are used. Some devices answer through their firmware, slowly:
  // at most a thousandth of the time is spent on them.
  void calibrate(const std::function<std::uint64_t()>& ticks);

  [[nodiscard]] bool used() const { return used_; }
  [[nodiscard]] DeviceClockMap map() const { return clock_.map(); }
  [[nodiscard]] const std::string& remark() const { return remark_; }  // for the operator, or empty

 private:
  [[nodiscard]] Status judge(std::span<const StampReading> against_phc,
                             std::span<const StampReading> against_ticks, std::size_t phc_readings);
  [[nodiscard]] Status judge_phc(std::span<const StampReading> against_phc,
                                 std::size_t phc_readings);
  [[nodiscard]] Nanoseconds in_ns(std::uint64_t ticks) const;

  HardwareStampsOptions options_;
  Read device_;
  Read phc_;
  DeviceClock clock_;
  bool used_ = false;
  bool by_phc_ = false;  // the mapping is made of the PHC's readings, since the NIC's has no own
  std::string remark_;
  std::uint64_t next_calibration_ = 0;  // ticks
};

}  // namespace driftlock
