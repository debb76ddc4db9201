// NodeClock: the fast path's Clock over the real tick counter and the snapshot that the clock
// thread publishes. Reading it is arithmetic: no system call, no device. writer of the snapshot:
// clock thread; readers: lcores.
#pragma once

#include <cstdint>

#include "hw/tick_counter.hpp"
#include "src/base/seqlock.hpp"
#include "src/clock/snapshot.hpp"

namespace driftlock {

class NodeClock {
 public:
  struct View {
    ClockSnapshot snapshot;
    [[nodiscard]] ClockReading at(std::uint64_t ticks) const { return read_clock(snapshot, ticks); }
  };

  explicit NodeClock(const Seqlock<ClockSnapshot>& published)
      : published_(published), ns_per_tick_(nominal_ns_per_tick()) {}

  [[nodiscard]] std::uint64_t ticks() const { return read_ticks(); }
  [[nodiscard]] View view() const { return {published_.load()}; }
  // Of a span; the difference of two tick counts the wrong way round is a negative span.
  [[nodiscard]] Nanoseconds nanoseconds(std::uint64_t ticks) const {
    return static_cast<Nanoseconds>(static_cast<double>(static_cast<std::int64_t>(ticks)) *
                                    ns_per_tick_);
  }

 private:
  const Seqlock<ClockSnapshot>& published_;
  double ns_per_tick_;
};

}  // namespace driftlock
