#include "src/cluster/clock_link.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/assert.hpp"

namespace driftlock {

// The answering node's residence is counted by its own oscillator: its rate's tolerance is added.
ClockLink::Outcome ClockLink::add(const Exchange& exchange) {
  const Nanoseconds residence = exchange.t3_ns - exchange.t2_ns;
  if (residence < 0 || exchange.t4_ns < exchange.t1_ns) return Outcome::kImpossible;
  const auto slack =
      static_cast<Nanoseconds>(std::ceil(static_cast<double>(residence) * limits_.tolerance)) + 2;
  const Nanoseconds delay = exchange.delay_ns() + slack;
  if (delay < 0) return Outcome::kImpossible;
  const Interval sample{exchange.t3_ns - 1, exchange.t3_ns + delay};
  const auto ticks = static_cast<std::uint64_t>(exchange.t4_ns);
  const bool agrees = bound_.agrees(ticks, sample);
  if (agrees) {
    bound_.narrow(ticks, sample);
  } else {
    bound_.restart(ticks, sample);
    kept_.fill({});
  }
  kept_[next_] = {exchange.t4_ns, exchange.t3_ns + delay / 2, delay};
  next_ = (next_ + 1) % kept_.size();
  ++exchanges_;
  return agrees ? Outcome::kTaken : Outcome::kContradicted;
}

const ClockLink::Kept& ClockLink::best(Nanoseconds local_ns) const {
  const auto worth = [&](const Kept& kept) {
    if (kept.delay_ns == kNever) return HUGE_VAL;
    return static_cast<double>(kept.delay_ns) / 2.0 +
           static_cast<double>(local_ns - kept.local_ns) * limits_.wander;
  };
  return *std::min_element(kept_.begin(), kept_.end(),
                           [&](const Kept& a, const Kept& b) { return worth(a) < worth(b); });
}

ClockLink::Estimate ClockLink::estimate(Nanoseconds local_ns) const {
  DRIFTLOCK_ASSERT(known());
  const Kept& kept = best(local_ns);
  const Interval certain = at(local_ns);
  const auto age = static_cast<double>(local_ns - kept.local_ns);
  const double rate = (bound_.min_rate() + bound_.max_rate()) / 2.0;
  const double half = static_cast<double>(kept.delay_ns) / 2.0 + std::fabs(age) * limits_.wander;
  Estimate estimate;
  estimate.peer_local_ns = std::clamp(kept.peer_ns + static_cast<Nanoseconds>(age * rate),
                                      certain.earliest, certain.latest);
  estimate.sigma_ns = std::min(half, static_cast<double>(certain.half_width())) / std::sqrt(3.0);
  return estimate;
}

Nanoseconds ClockLink::best_delay_ns() const {
  return std::min_element(kept_.begin(), kept_.end(),
                          [](const Kept& a, const Kept& b) { return a.delay_ns < b.delay_ns; })
      ->delay_ns;
}

}  // namespace driftlock
