// ClockSnapshot: all that a reader needs to know what time it is from its own tick counter,
// published by the clock thread through a Seqlock. Pure arithmetic: no device is touched. writer:
// clock thread; readers: lcores, client threads.
#pragma once

#include <cmath>
#include <cstdint>

#include "src/base/time.hpp"

namespace driftlock {

// At anchor_ticks the estimate of TAI was anchor_tai_ns; a tick is tai_ns_per_tick of TAI. Both
// bounds grow with age, so that a clock thread that has died is seen by its readers.
struct ClockSnapshot {
  std::uint64_t anchor_ticks = 0;
  Nanoseconds anchor_tai_ns = 0;
  double tai_ns_per_tick = 1.0;
  Nanoseconds hard_ns = 0;            // half width of the hard bound at the anchor
  double hard_growth = 0.0;           // worst-case drift, s/s: how fast it grows with age
  double variance_ns2 = 0.0;          // of the offset at the anchor (filter's P00)
  double covariance_ns = 0.0;         // offset against frequency (P01), ns * s/s
  double variance_frequency = 0.0;    // of the frequency (P11), (s/s)^2
  double variance_growth = 0.0;       // white frequency noise q1, ns^2 per ns
  Nanoseconds lost_ns = 0;            // a hard half width beyond this is LOST
  Nanoseconds holdover_after_ns = 0;  // a SYNC snapshot older than this is HOLDOVER
  ClockState state = ClockState::kLost;
};

// The time at `ticks`, which may lie a little before the anchor (a packet's receive stamp).
[[nodiscard]] inline ClockReading read_clock(const ClockSnapshot& snapshot, std::uint64_t ticks) {
  if (snapshot.state == ClockState::kLost) return {};
  const auto age_ticks =
      static_cast<double>(static_cast<std::int64_t>(ticks - snapshot.anchor_ticks));
  const double age_ns = age_ticks * snapshot.tai_ns_per_tick;
  const double distance_ns = std::fabs(age_ns);
  const auto half_width =
      snapshot.hard_ns + static_cast<Nanoseconds>(distance_ns * snapshot.hard_growth) + 1;
  ClockReading reading;
  reading.tai =
      Interval::around(snapshot.anchor_tai_ns + static_cast<Nanoseconds>(age_ns), half_width);
  reading.sigma_ns = static_cast<Nanoseconds>(std::sqrt(
      snapshot.variance_ns2 + 2.0 * age_ns * snapshot.covariance_ns +
      age_ns * age_ns * snapshot.variance_frequency + distance_ns * snapshot.variance_growth));
  reading.state = snapshot.state;
  if (reading.state == ClockState::kSync &&
      distance_ns > static_cast<double>(snapshot.holdover_after_ns)) {
    reading.state = ClockState::kHoldover;
  }
  if (half_width > snapshot.lost_ns) reading.state = ClockState::kLost;
  return reading;
}

}  // namespace driftlock
