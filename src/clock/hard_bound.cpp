#include "src/clock/hard_bound.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

// Beyond this a reference is replaced, so that a double still counts single nanoseconds in it.
constexpr double kReferenceSpanNs = 1e15;

}  // namespace

HardBound::HardBound(const HardBoundLimits& limits)
    : limits_(limits), slowest_(-limits.tolerance), fastest_(limits.tolerance) {
  DRIFTLOCK_ASSERT(limits.ns_per_tick > 0.0 && limits.tolerance >= 0.0 && limits.wander >= 0.0);
  DRIFTLOCK_ASSERT(limits.tolerance < 0.1);
}

Interval HardBound::at(std::uint64_t ticks) const {
  if (!known_) return {};
  const auto age = static_cast<double>(static_cast<std::int64_t>(ticks - ticks_));
  const double slow = age >= 0.0 ? min_rate() : max_rate();
  const double fast = age >= 0.0 ? max_rate() : min_rate();
  return {saturating_add(bound_.earliest, static_cast<Nanoseconds>(std::floor(age * slow))),
          saturating_add(bound_.latest, static_cast<Nanoseconds>(std::ceil(age * fast)))};
}

void HardBound::narrow(std::uint64_t ticks, const Interval& sample) {
  if (!known_) {
    restart(ticks, sample);
    return;
  }
  const Interval aged = at(ticks);
  DRIFTLOCK_ASSERT(aged.overlaps(sample));
  bound_ = {std::max(aged.earliest, sample.earliest), std::min(aged.latest, sample.latest)};
  ticks_ = ticks;
  learn_rate(ticks, bound_);
}

void HardBound::restart(std::uint64_t ticks, const Interval& sample) {
  known_ = true;
  ticks_ = reference_ticks_ = ticks;
  bound_ = reference_ = sample;
  slowest_ = -limits_.tolerance;
  fastest_ = limits_.tolerance;
}

// The mean rate since the reference lies within what the two bounds allow; the rate at any instant
// lies within `wander` of it. Only a tighter range replaces the present one, and the two must
// overlap, since both hold the truth; where they do not, a limit is wrong and the wide range is
// safe.
void HardBound::learn_rate(std::uint64_t ticks, const Interval& bound) {
  const double span = static_cast<double>(static_cast<std::int64_t>(ticks - reference_ticks_)) *
                      limits_.ns_per_tick;
  if (span <= 0.0) return;
  const auto least = static_cast<double>(bound.earliest - reference_.latest);
  const auto most = static_cast<double>(bound.latest - reference_.earliest);
  const double slowest = (least - span) / span - limits_.wander;
  const double fastest = (most - span) / span + limits_.wander;
  const double low = std::max(slowest_, slowest);
  const double high = std::min(fastest_, fastest);
  if (low <= high) {
    slowest_ = low;
    fastest_ = high;
  } else {
    slowest_ = -limits_.tolerance;
    fastest_ = limits_.tolerance;
  }
  if (span > kReferenceSpanNs || bound.half_width() < reference_.half_width() / 2) {
    reference_ticks_ = ticks;
    reference_ = bound;
  }
}

}  // namespace driftlock
