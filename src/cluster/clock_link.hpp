// ClockLink: what four timestamps tell of another node's local time, in this node's. Owned by the
// gossip thread. Invariant: the interval holds the peer's local time as long as the stamps are true
// and both oscillators keep within their limits; nothing is assumed of the path but that no
// datagram arrives before it was sent.
//
// Mathematics. A ping leaves at t1 (ours) and arrives at t2 (theirs), its answer leaves at t3
// (theirs) and arrives at t4 (ours). The answer took between nothing and the round trip
// d = (t4 - t1) - (t3 - t2), so at t4 their time was in [t3, t3 + d]. That interval ages by the
// range of the relative rate and is intersected with each new one (clock/hard_bound): an exchange
// delayed in a queue adds nothing, so that the least delayed ones decide, each while it is young.
// The estimate is the middle of the exchange of least delay and age, its error that of a uniform
// asymmetry: half the round trip over the root of three.
#pragma once

#include <array>
#include <cstdint>

#include "src/base/time.hpp"
#include "src/clock/hard_bound.hpp"

namespace driftlock {

struct Exchange {
  Nanoseconds t1_ns = 0;
  Nanoseconds t2_ns = 0;
  Nanoseconds t3_ns = 0;
  Nanoseconds t4_ns = 0;

  [[nodiscard]] Nanoseconds delay_ns() const { return (t4_ns - t1_ns) - (t3_ns - t2_ns); }
};

struct LinkLimits {
  double tolerance = 1000e-6;  // of the two local rates against each other, at all times
  double wander = 100e-6;      // between any two instants
};

class ClockLink {
 public:
  explicit ClockLink(const LinkLimits& limits) : limits_(limits), bound_(hard(limits)) {}

  enum class Outcome : std::uint8_t { kTaken, kImpossible, kContradicted };
  // kImpossible: the stamps are not in order; nothing is learnt. kContradicted: the exchange does
  // not fit what was certain, and replaces it: a stamp was false.
  Outcome add(const Exchange& exchange);

  [[nodiscard]] bool known() const { return bound_.known(); }
  // The peer's local time at our local time.
  [[nodiscard]] Interval at(Nanoseconds local_ns) const {
    return bound_.at(static_cast<std::uint64_t>(local_ns));
  }
  struct Estimate {
    Nanoseconds peer_local_ns = 0;
    double sigma_ns = 0.0;
  };
  [[nodiscard]] Estimate estimate(Nanoseconds local_ns) const;
  // Round trip of the exchange that the estimate goes by.
  [[nodiscard]] Nanoseconds best_delay_ns() const;
  [[nodiscard]] std::uint64_t exchanges() const { return exchanges_; }

 private:
  struct Kept {
    Nanoseconds local_ns = 0;
    Nanoseconds peer_ns = 0;
    Nanoseconds delay_ns = kNever;
  };
  static HardBoundLimits hard(const LinkLimits& limits) {
    return {.ns_per_tick = 1.0, .tolerance = limits.tolerance, .wander = limits.wander};
  }
  [[nodiscard]] const Kept& best(Nanoseconds local_ns) const;

  LinkLimits limits_;
  HardBound bound_;
  std::array<Kept, 8> kept_{};
  std::size_t next_ = 0;
  std::uint64_t exchanges_ = 0;
};

}  // namespace driftlock
