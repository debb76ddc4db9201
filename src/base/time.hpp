// The words for time. The timebase is TAI in integer nanoseconds since 1970-01-01 00:00:00 TAI (as
// a PHC under PTP counts it); a name ends in its unit. What is published is an Interval, never a
// point.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace driftlock {

using Nanoseconds = std::int64_t;  // a duration, or a TAI instant where the name says tai or the
                                   // type is Interval

inline constexpr Nanoseconds kNanosecond = 1;
inline constexpr Nanoseconds kMicrosecond = 1'000;
inline constexpr Nanoseconds kMillisecond = 1'000'000;
inline constexpr Nanoseconds kSecond = 1'000'000'000;
inline constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();
inline constexpr Nanoseconds kLongAgo = std::numeric_limits<Nanoseconds>::min();

// a + b, held at the ends of the range: bounds that have grown without limit must not wrap.
constexpr Nanoseconds saturating_add(Nanoseconds a, Nanoseconds b) {
  Nanoseconds sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? kNever : kLongAgo;
}

// The true time lies in [earliest, latest]. A happened before B only where A.latest < B.earliest.
struct Interval {
  Nanoseconds earliest = kLongAgo;
  Nanoseconds latest = kNever;

  [[nodiscard]] static constexpr Interval around(Nanoseconds middle, Nanoseconds half_width) {
    return {saturating_add(middle, -half_width), saturating_add(middle, half_width)};
  }
  [[nodiscard]] constexpr Nanoseconds middle() const {
    return earliest +
           static_cast<Nanoseconds>(
               (static_cast<std::uint64_t>(latest) - static_cast<std::uint64_t>(earliest)) / 2);
  }
  [[nodiscard]] constexpr Nanoseconds half_width() const {
    const auto width = static_cast<std::uint64_t>(latest) - static_cast<std::uint64_t>(earliest);
    return static_cast<Nanoseconds>(
        std::min(width / 2 + width % 2, static_cast<std::uint64_t>(kNever)));
  }
  [[nodiscard]] constexpr bool before(const Interval& other) const {
    return latest < other.earliest;
  }
  [[nodiscard]] constexpr bool contains(Nanoseconds instant) const {
    return earliest <= instant && instant <= latest;
  }
  [[nodiscard]] constexpr bool overlaps(const Interval& other) const {
    return !before(other) && !other.before(*this);
  }
  friend constexpr bool operator==(const Interval&, const Interval&) = default;
};

// How far the node's clock may be trusted; its transitions are in docs/timekeeping.md. The values
// travel in the protocol.
enum class ClockState : std::uint8_t {
  kLost = 0,      // no usable bound: nothing new is granted
  kSync = 1,      // a source is answering and agrees with the forecast
  kHoldover = 2,  // the source is gone: the forecast carries on and the bound grows
  kSuspect = 3,   // the source and the forecast disagree: the bound has been widened to hold both
};

constexpr const char* to_string(ClockState state) {
  switch (state) {
    case ClockState::kLost:
      return "LOST";
    case ClockState::kSync:
      return "SYNC";
    case ClockState::kHoldover:
      return "HOLDOVER";
    case ClockState::kSuspect:
      return "SUSPECT";
  }
  return "?";
}

// What a node's clock says at one instant.
struct ClockReading {
  Interval tai;              // hard bound, TAI
  Nanoseconds sigma_ns = 0;  // one standard deviation of the filter's estimate (statistical bound)
  ClockState state = ClockState::kLost;
  Nanoseconds estimate_ns = 0;  // the filter's estimate of TAI; need not be the bound's middle
};

// Where a packet's receive time was taken, nearest to the wire last. The values travel in the
// protocol.
enum class StampSource : std::uint8_t {
  kNone = 0,
  kSimulated = 1,
  kTsc = 2,       // the processor's counter when the burst was polled
  kSoftware = 3,  // the kernel's, in the driver's interrupt path (SO_TIMESTAMPING)
  kHardware = 4,  // the NIC's
};

constexpr const char* to_string(StampSource source) {
  switch (source) {
    case StampSource::kNone:
      return "none";
    case StampSource::kSimulated:
      return "simulated";
    case StampSource::kTsc:
      return "tsc";
    case StampSource::kSoftware:
      return "software";
    case StampSource::kHardware:
      return "hardware";
  }
  return "?";
}

}  // namespace driftlock
