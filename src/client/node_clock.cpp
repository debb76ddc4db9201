#include "src/client/node_clock.hpp"

#include <cstdlib>

namespace driftlock::client {
namespace {

// An offset as old as this gives way to a newer one, however much slower its exchange was.
constexpr Nanoseconds kOffsetAgeMax = 30 * kSecond;

Nanoseconds scaled(Nanoseconds duration_ns, double factor) {
  return static_cast<Nanoseconds>(static_cast<double>(duration_ns) * factor);
}

}  // namespace

Interval NodeClock::at(Nanoseconds local_ns) const {
  if (!measured_) return {};
  return {saturating_add(lower_ns_, scaled(local_ns - lower_local_ns_, 1.0 - drift_bound_)),
          saturating_add(upper_ns_, scaled(local_ns - upper_local_ns_, 1.0 + drift_bound_) + 1)};
}

Nanoseconds NodeClock::local_when_latest_reaches(Nanoseconds tai_ns) const {
  if (!measured_) return kLongAgo;
  const Nanoseconds left = saturating_add(tai_ns, -upper_ns_);
  const double slowed = left > 0 ? 1.0 / (1.0 + drift_bound_) : 1.0 + drift_bound_;
  return saturating_add(upper_local_ns_, scaled(left, slowed) - 1);
}

bool NodeClock::add(const Exchange& exchange) {
  const Nanoseconds now = exchange.received_local_ns;
  const Interval known = at(now);
  const Nanoseconds upper = exchange.node_ns + exchange.node_error_ns;
  // The node measures its residence with a counter that is no better than ours.
  const Nanoseconds lower =
      exchange.node_ns - exchange.node_error_ns + scaled(exchange.residence_ns, 1.0 - drift_bound_);
  const Nanoseconds upper_now =
      upper + scaled(now - exchange.sent_local_ns, 1.0 + drift_bound_) + 1;
  const bool agrees = !measured_ || Interval{lower, upper_now}.overlaps(known);
  if (!measured_ || !agrees || upper_now < known.latest) {
    upper_local_ns_ = exchange.sent_local_ns;
    upper_ns_ = upper;
  }
  if (!measured_ || !agrees || lower > known.earliest) {
    lower_local_ns_ = now;
    lower_ns_ = lower;
  }
  if (!agrees) offset_error_ns_ = kNever;
  measure(exchange);
  return agrees;
}

void NodeClock::measure(const Exchange& exchange) {
  const Nanoseconds round_trip = std::max<Nanoseconds>(
      exchange.received_local_ns - exchange.sent_local_ns - exchange.residence_ns, 1);
  if (!measured_) {
    round_trip_ns_ = round_trip;
    deviation_ns_ = round_trip / 2;
  } else {
    deviation_ns_ += (std::abs(round_trip - round_trip_ns_) - deviation_ns_) / 4;
    round_trip_ns_ += (round_trip - round_trip_ns_) / 8;
  }
  measured_ = true;
  const bool stale = exchange.received_local_ns - offset_local_ns_ > kOffsetAgeMax;
  if (round_trip / 2 < offset_error_ns_ || stale) {
    offset_error_ns_ = round_trip / 2;
    offset_ns_ = ((exchange.sent_tai_ns - exchange.node_ns) +
                  (exchange.received_tai_ns - exchange.node_ns - exchange.residence_ns)) /
                 2;
    offset_local_ns_ = exchange.received_local_ns;
  }
}

}  // namespace driftlock::client
