// Member: promises between nodes, which carry ownership while the coordinator does not answer.
#include <algorithm>

#include "src/cluster/member.hpp"

namespace driftlock::cluster {
namespace {

constexpr std::size_t kAskedKept = 16;

}  // namespace

// The least of what all the others have promised; kNever where there are none.
Nanoseconds Member::promised_by_all(Nanoseconds Peer::*what) const {
  Nanoseconds least = kNever;
  for (const auto& [id, peer] : peers_) {
    if (!peer.lapsed) least = std::min(least, peer.*what);
  }
  return least;
}

void Member::ask_peers(const ClockReading& now) {
  ask_due_ns_ = now.tai.middle() + options_.renew_ns;
  if (lapsed_ || yielding_) return;
  const Asked asked{++sequence_, saturating_add(now.tai.latest, options_.ownership_ns),
                    horizon_wanted_ns_};
  asked_.push_back(asked);
  if (asked_.size() > kAskedKept) asked_.pop_front();
  for (const auto& [id, peer] : peers_) {
    PeerMessage message;
    message.op = PeerOp::kAsk;
    message.from = self_.id;
    message.to = id;
    message.incarnation = self_.incarnation;
    message.sequence = asked.sequence;
    message.map_version = map_.version;
    message.lease_end_tai_ns = asked.lease_end_ns;
    message.horizon_tai_ns = asked.horizon_ns;
    messages_.push_back(message);
  }
}

void Member::received(const PeerMessage& message, const ClockReading& now) {
  check_lapse(now);
  const auto found = peers_.find(message.from);
  if (message.map_version > map_.version && !waits_for(Purpose::kRead) &&
      phase_ == MemberPhase::kMember) {
    begin_read(now);
    due_ns_ = std::min(due_ns_, now.tai.middle() + options_.renew_ns);
  }
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  if (message.op == PeerOp::kAsk) return promise(message, now);
  if (message.op == PeerOp::kYield) {
    yield_hint_ = true;
    return;
  }
  if (lapsed_ || message.incarnation != self_.incarnation) return;
  const auto asked = std::find_if(asked_.begin(), asked_.end(), [&message](const Asked& each) {
    return each.sequence == message.sequence;
  });
  if (asked == asked_.end()) return;
  peer.got_end_ns = std::max(peer.got_end_ns, asked->lease_end_ns);
  peer.got_horizon_ns = std::max(peer.got_horizon_ns, asked->horizon_ns);
  raise_horizon();
}

void Member::promise(const PeerMessage& message, const ClockReading& now) {
  Peer& peer = peers_[message.from];
  if (message.incarnation != peer.record.incarnation || now.state == ClockState::kLost) return;
  // No promise while a swap against it may still be applied.
  if (peer.taking_node_revision != 0) {
    const bool stale =
        peer.mod_revision != peer.taking_node_revision || map_revision_ != peer.taking_map_revision;
    if (!stale) return;
    peer.taking_node_revision = 0;
  }
  // A clock that runs far ahead shall not keep a dead node's slots for long.
  const Nanoseconds reasonable =
      saturating_add(now.tai.latest, std::max(2 * options_.ownership_ns, options_.grace_ns));
  if (message.lease_end_tai_ns > reasonable) return;
  peer.promised_end_ns = std::max(peer.promised_end_ns, message.lease_end_tai_ns);
  peer.promised_horizon_ns = std::max(peer.promised_horizon_ns, message.horizon_tai_ns);
  ++counters_.promises;
  PeerMessage answer = message;
  answer.op = PeerOp::kPromise;
  answer.from = self_.id;
  answer.to = message.from;
  answer.map_version = map_.version;
  messages_.push_back(answer);
}

void Member::report_unreachable(NodeId node) {
  if (peers_.find(node) == peers_.end()) return;
  PeerMessage message;
  message.op = PeerOp::kYield;
  message.from = self_.id;
  message.to = node;
  message.incarnation = self_.incarnation;
  message.sequence = ++sequence_;
  message.map_version = map_.version;
  messages_.push_back(message);
}

}  // namespace driftlock::cluster
