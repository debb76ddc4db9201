// HardBound: the interval that certainly holds TAI, as long as the sources keep within the error
// they admit to and the oscillator within its configured limits. Owned by the clock thread.
// Invariant: nothing statistical enters; a sample narrows the bound or, where it contradicts it,
// widens it.
//
// Mathematics. A sample says TAI(t) in [z - e, z + e + sandwich]. The oscillator's rate (TAI per
// nominal local time) is r(t), |r - 1| <= tolerance at all times, and any two rates differ by at
// most `wander`. An interval ages by the range of rates; two intervals a time T apart bound the
// mean rate between them, hence, widened by `wander`, the rate now. The running bound is the
// intersection of the aged bound with each new sample. An empty intersection is a contradiction.
#pragma once

#include <cstdint>

#include "src/base/time.hpp"

namespace driftlock {

struct HardBoundLimits {
  double ns_per_tick = 1.0;   // nominal
  double tolerance = 500e-6;  // |rate - nominal| at all times, calibration of nominal included
  double wander = 50e-6;      // between any two instants: temperature, ageing, voltage
};

class HardBound {
 public:
  explicit HardBound(const HardBoundLimits& limits);

  // Moves the bound to `ticks`; false where nothing was ever known.
  [[nodiscard]] bool known() const { return known_; }
  // The bound as of `ticks` (not earlier than the last sample).
  [[nodiscard]] Interval at(std::uint64_t ticks) const;
  [[nodiscard]] bool agrees(std::uint64_t ticks, const Interval& sample) const {
    return !known_ || at(ticks).overlaps(sample);
  }
  // Intersects with a sample that agrees.
  void narrow(std::uint64_t ticks, const Interval& sample);
  // Forgets all but this: the clock was stepped, or the first sample.
  void restart(std::uint64_t ticks, const Interval& sample);

  // Range of TAI ns per tick, now and until the next sample.
  [[nodiscard]] double min_rate() const { return limits_.ns_per_tick * (1.0 + slowest_); }
  [[nodiscard]] double max_rate() const { return limits_.ns_per_tick * (1.0 + fastest_); }

 private:
  void learn_rate(std::uint64_t ticks, const Interval& sample);

  HardBoundLimits limits_;
  bool known_ = false;
  std::uint64_t ticks_ = 0;  // of bound_
  Interval bound_;
  std::uint64_t reference_ticks_ = 0;  // an earlier bound, against which the rate is measured
  Interval reference_;
  double slowest_;  // rate - 1
  double fastest_;
};

}  // namespace driftlock
