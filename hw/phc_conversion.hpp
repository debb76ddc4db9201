// From the kernel's time stamps to ticks: a PHC's ioctls say when they read it in CLOCK_REALTIME or
// CLOCK_MONOTONIC_RAW, and the clock model counts in ticks. Pure functions, so that they can be
// tested where no PHC exists. Invariant: a conversion only widens the read sandwich.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "src/base/time.hpp"
#include "src/clock/source.hpp"

namespace driftlock {

// A system clock read between two tick counts.
struct TickPair {
  std::uint64_t ticks_before = 0;
  std::uint64_t ticks_after = 0;
  Nanoseconds system_ns = 0;
};

// The system clock just before and just after an ioctl.
struct TickBracket {
  TickPair before;
  TickPair after;
};

// One PHC reading with the system time around it.
struct PhcReading {
  Nanoseconds system_before_ns = 0;
  Nanoseconds phc_ns = 0;
  Nanoseconds system_after_ns = 0;
};

// The earliest and latest tick counts at which the system clock may have read `system_ns`. None
// where the bracket is no use: the system clock was stepped in between, or the stamp lies outside.
struct TickRange {
  std::uint64_t earliest = 0;
  std::uint64_t latest = 0;
};
[[nodiscard]] std::optional<TickRange> ticks_at(const TickBracket& bracket, Nanoseconds system_ns,
                                                double ns_per_tick);

// The tightest of the readings, as a sample in ticks. Where the bracket is no use the sandwich is
// the whole bracket.
[[nodiscard]] ClockSample tightest_sample(const TickBracket& bracket,
                                          std::span<const PhcReading> readings, double ns_per_tick);

}  // namespace driftlock
