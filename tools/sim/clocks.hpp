// Clocks of the simulated machines. Each is a function of true time that its owner cannot see
// through: a counter with a rate of its own, and for the node an interval that contains the truth,
// which is the contract that everything else rests on.
#pragma once

#include <algorithm>
#include <cmath>

#include "src/clock/snapshot.hpp"
#include "tools/sim/events.hpp"
#include "tools/sim/random.hpp"

namespace driftlock::sim {

// A counter of nanoseconds that runs at `rate` of true time, and never steps.
class RateClock {
 public:
  explicit RateClock(Nanoseconds start_ns) : base_local_ns_(start_ns) {}

  [[nodiscard]] Nanoseconds at(Nanoseconds true_ns) const {
    return base_local_ns_ +
           static_cast<Nanoseconds>(static_cast<double>(true_ns - base_true_ns_) * rate_);
  }
  // The first true instant at which the counter shows `local_ns`.
  [[nodiscard]] Nanoseconds when(Nanoseconds local_ns) const {
    const double span = static_cast<double>(local_ns - base_local_ns_) / rate_;
    if (span > 1e17) return kNever / 2;
    Nanoseconds found = base_true_ns_ + static_cast<Nanoseconds>(span);
    while (at(found) < local_ns) ++found;
    return found;
  }
  void set_rate(Nanoseconds true_ns, double rate) {
    base_local_ns_ = at(true_ns);
    base_true_ns_ = true_ns;
    rate_ = rate;
  }

 private:
  Nanoseconds base_true_ns_ = 0;
  Nanoseconds base_local_ns_;
  double rate_ = 1.0;
};

// The node's: a counter, and the snapshots that its clock thread publishes.
class NodeTime {
 public:
  struct View {
    ClockSnapshot snapshot;
    [[nodiscard]] ClockReading at(std::uint64_t ticks) const { return read_clock(snapshot, ticks); }
  };

  NodeTime(const Events& events, Random random, double drift, Nanoseconds half_width_ns)
      : events_(events), random_(random), half_width_ns_(half_width_ns), counter_(kSecond) {
    counter_.set_rate(0, 1.0 + drift);
    publish();
  }

  [[nodiscard]] std::uint64_t ticks() const {
    return static_cast<std::uint64_t>(counter_.at(events_.now_ns()));
  }
  [[nodiscard]] View view() const { return {snapshot_}; }
  [[nodiscard]] Nanoseconds nanoseconds(std::uint64_t ticks) const {
    return static_cast<Nanoseconds>(ticks);
  }
  [[nodiscard]] ClockReading read() const { return view().at(ticks()); }

  // What the clock thread does now and then.
  void publish() {
    if (holdover) return;
    const Nanoseconds half_width_ns = std::max(half_width_ns_, suspect_ns);
    // As wrong as it may be, as often as not.
    const double wrong = random_.chance(0.5) ? random_.both_ways() : random_.chance(0.5) ? 1 : -1;
    snapshot_.anchor_ticks = ticks();
    snapshot_.anchor_tai_ns =
        events_.true_tai() + static_cast<Nanoseconds>(wrong * static_cast<double>(half_width_ns));
    snapshot_.hard_earliest_ns = snapshot_.anchor_tai_ns - half_width_ns;
    snapshot_.hard_latest_ns = snapshot_.anchor_tai_ns + half_width_ns;
    snapshot_.min_tai_ns_per_tick = 1.0 - kGrowth;
    snapshot_.max_tai_ns_per_tick = 1.0 + kGrowth;
    snapshot_.lost_ns = 600 * kMillisecond;
    snapshot_.holdover_after_ns = 500 * kMillisecond;
    snapshot_.state = lost             ? ClockState::kLost
                      : suspect_ns > 0 ? ClockState::kSuspect
                                       : ClockState::kSync;
  }
  static constexpr double kGrowth = 2e-4;    // of the bound in holdover
  static constexpr double kDriftMax = 1e-4;  // of the counter: below kGrowth

  // Set by faults.
  Nanoseconds suspect_ns = 0;
  bool holdover = false;
  bool lost = false;

 private:
  const Events& events_;
  Random random_;
  Nanoseconds half_width_ns_;
  RateClock counter_;
  ClockSnapshot snapshot_;
};

}  // namespace driftlock::sim
