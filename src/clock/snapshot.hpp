// ClockSnapshot: all that a reader needs to know what time it is from its own tick counter,
// published by the clock thread through a Seqlock. Pure arithmetic: no device is touched. Both
// bounds grow with age, so that a clock thread that has died is seen by its readers. writer: clock
// thread; readers: lcores, client threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "src/base/time.hpp"

namespace driftlock {

// At anchor_ticks TAI was estimated to be anchor_tai_ns and certainly in [hard_earliest_ns,
// hard_latest_ns]. Since then TAI has advanced per tick by tai_ns_per_tick as an estimate, and by
// min_tai_ns_per_tick to max_tai_ns_per_tick for certain.
struct ClockSnapshot {
  std::uint64_t anchor_ticks = 0;
  Nanoseconds anchor_tai_ns = 0;
  Nanoseconds hard_earliest_ns = 0;
  Nanoseconds hard_latest_ns = 0;
  double tai_ns_per_tick = 1.0;
  double min_tai_ns_per_tick = 1.0;
  double max_tai_ns_per_tick = 1.0;
  double drift_per_ns = 0.0;  // change of frequency with age, (s/s)/ns
  // Variance of the estimate after an age of a ns, ns^2: v[0] + v[1] a + v[2] a^2 + ... v[4] a^4.
  double variance[5] = {0.0, 0.0, 0.0, 0.0, 0.0};
  Nanoseconds lost_ns = 0;            // a hard half width beyond this is LOST
  Nanoseconds holdover_after_ns = 0;  // a SYNC snapshot older than this is HOLDOVER
  ClockState state = ClockState::kLost;
};

// The time at `ticks`, which may lie a little before the anchor (a packet's receive stamp).
[[nodiscard]] inline ClockReading read_clock(const ClockSnapshot& snapshot, std::uint64_t ticks) {
  if (snapshot.state == ClockState::kLost) return {};
  const auto age_ticks =
      static_cast<double>(static_cast<std::int64_t>(ticks - snapshot.anchor_ticks));
  const bool ahead = age_ticks >= 0.0;
  const double slow = ahead ? snapshot.min_tai_ns_per_tick : snapshot.max_tai_ns_per_tick;
  const double fast = ahead ? snapshot.max_tai_ns_per_tick : snapshot.min_tai_ns_per_tick;
  const double age_ns = age_ticks * snapshot.tai_ns_per_tick;
  const double distance_ns = std::fabs(age_ns);
  ClockReading reading;
  // One nanosecond outward, for the fractions that the conversions cut off.
  reading.tai.earliest = snapshot.hard_earliest_ns + static_cast<Nanoseconds>(age_ticks * slow) - 1;
  reading.tai.latest = snapshot.hard_latest_ns + static_cast<Nanoseconds>(age_ticks * fast) + 1;
  const double advance_ns = age_ns + 0.5 * snapshot.drift_per_ns * age_ns * distance_ns;
  reading.estimate_ns = std::clamp(snapshot.anchor_tai_ns + static_cast<Nanoseconds>(advance_ns),
                                   reading.tai.earliest, reading.tai.latest);
  const double* v = snapshot.variance;
  const double variance =
      v[0] +
      distance_ns * (v[1] + distance_ns * (v[2] + distance_ns * (v[3] + distance_ns * v[4])));
  reading.sigma_ns = static_cast<Nanoseconds>(std::sqrt(variance));
  reading.state = snapshot.state;
  if (reading.state == ClockState::kSync &&
      distance_ns > static_cast<double>(snapshot.holdover_after_ns)) {
    reading.state = ClockState::kHoldover;
  }
  if (reading.tai.half_width() > snapshot.lost_ns) reading.state = ClockState::kLost;
  return reading;
}

}  // namespace driftlock
