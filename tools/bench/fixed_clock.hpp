// A synchronized clock without a clock thread: what it says is made up, what reading it costs is
// not.
#pragma once

#include "hw/tick_counter.hpp"
#include "src/clock/snapshot.hpp"

namespace driftlock::bench {

inline ClockSnapshot fixed_snapshot() {
  ClockSnapshot snapshot;
  snapshot.anchor_ticks = read_ticks();
  snapshot.anchor_tai_ns = 1'800'000'000 * kSecond;
  snapshot.hard_earliest_ns = snapshot.anchor_tai_ns - kMicrosecond;
  snapshot.hard_latest_ns = snapshot.anchor_tai_ns + kMicrosecond;
  snapshot.tai_ns_per_tick = nominal_ns_per_tick();
  snapshot.min_tai_ns_per_tick = nominal_ns_per_tick() * (1 - 1e-5);
  snapshot.max_tai_ns_per_tick = nominal_ns_per_tick() * (1 + 1e-5);
  snapshot.variance[0] = 10'000.0;
  snapshot.lost_ns = kSecond;
  snapshot.holdover_after_ns = kNever;
  snapshot.state = ClockState::kSync;
  return snapshot;
}

}  // namespace driftlock::bench
