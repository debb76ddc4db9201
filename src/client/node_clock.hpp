// NodeClock: what a client knows of the node's clock, and of the way there, from exchanges of
// datagrams. Pure arithmetic; owned by a SessionCore.
//
// An exchange has four times: the client sends at local time s, the node receives at node time
// n +- e and sends r later, the client receives at local time v. The datagram was received after it
// was sent, and sent before it was received, hence with local rate error at most d:
//   node time at local m  <=  n + e + (m - s)(1 + d)          (upper bound, from sending)
//   node time at local m  >=  n - e + r + (m - v)(1 - d)      (lower bound, from receiving)
// for m >= v. So even a client whose own clock is not synchronized has a `latest` to hold against
// the end of a lease. It is what "the term, counted from sending the request" says, and it is right
// also for a cached reply and for a grant that was pushed.
#pragma once

#include <optional>

#include "src/base/time.hpp"

namespace driftlock::client {

struct Exchange {
  Nanoseconds sent_local_ns = 0;
  Nanoseconds received_local_ns = 0;
  Nanoseconds sent_tai_ns = 0;  // the client's system clock at both ends, for the offset alone
  Nanoseconds received_tai_ns = 0;
  Nanoseconds node_ns = 0;
  Nanoseconds node_error_ns = 0;
  Nanoseconds residence_ns = 0;
};

class NodeClock {
 public:
  explicit NodeClock(double drift_bound) : drift_bound_(drift_bound) {}

  // False where the exchange contradicts what was known: the node's clock has been stepped. The
  // older knowledge is then dropped.
  bool add(const Exchange& exchange);

  // The node's time at a local instant not before the last exchange.
  [[nodiscard]] Interval at(Nanoseconds local_ns) const;
  // The local instant at which `latest` reaches `tai_ns`; kLongAgo before the first exchange.
  [[nodiscard]] Nanoseconds local_when_latest_reaches(Nanoseconds tai_ns) const;

  // Smoothed round trip and its mean deviation (RFC 6298), node's residence taken out.
  [[nodiscard]] Nanoseconds round_trip_ns() const { return round_trip_ns_; }
  [[nodiscard]] Nanoseconds deviation_ns() const { return deviation_ns_; }
  [[nodiscard]] bool measured() const { return measured_; }
  // Client's system clock minus the node's, from the fastest exchange of the last few, and half of
  // that exchange's round trip, which bounds its error if the node's clock is right.
  [[nodiscard]] Nanoseconds offset_ns() const { return offset_ns_; }
  [[nodiscard]] Nanoseconds offset_error_ns() const { return offset_error_ns_; }

 private:
  void measure(const Exchange& exchange);

  double drift_bound_;
  bool measured_ = false;
  Nanoseconds upper_local_ns_ = 0;
  Nanoseconds upper_ns_ = kNever;
  Nanoseconds lower_local_ns_ = 0;
  Nanoseconds lower_ns_ = kLongAgo;
  Nanoseconds round_trip_ns_ = 0;
  Nanoseconds deviation_ns_ = 0;
  Nanoseconds offset_ns_ = 0;
  Nanoseconds offset_error_ns_ = kNever;
  Nanoseconds offset_local_ns_ = 0;
};

}  // namespace driftlock::client
