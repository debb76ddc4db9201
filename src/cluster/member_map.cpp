// Member: changes of the map: taking over from a node whose lease has ended, handing over to one
// that lives, giving away at once. Every one is a swap on condition that the map is as it was
// known.
#include <algorithm>

#include "src/cluster/member.hpp"

namespace driftlock::cluster {

bool Member::map_change_pending() const {
  return waits_for(Purpose::kTakeOver) || waits_for(Purpose::kMove) || waits_for(Purpose::kYield);
}

bool Member::seems_alive(const Peer& peer, const ClockReading& now) const {
  return peer.mod_revision != 0 &&
         now.tai.latest < std::max(peer.record.lease_end_tai_ns, peer.promised_end_ns);
}

std::vector<OwnerEndpoint> Member::endpoints_of(const NodeRecord& record) {
  std::vector<OwnerEndpoint> endpoints;
  for (std::uint16_t shard = 0; shard < record.shards; ++shard) {
    endpoints.push_back({record.id, shard});
  }
  return endpoints;
}

// In the order of node ids, this one among them.
std::vector<OwnerEndpoint> Member::living(const ClockReading& now, bool draining_too) const {
  std::map<NodeId, const NodeRecord*> nodes;
  if (!lapsed_ && !yielding_) nodes[self_.id] = &self_;
  for (const auto& [id, peer] : peers_) {
    if (seems_alive(peer, now)) nodes[id] = &peer.record;
  }
  std::vector<OwnerEndpoint> endpoints;
  for (const auto& [id, record] : nodes) {
    if (record->state != NodeState::kUp && !draining_too) continue;
    const std::vector<OwnerEndpoint> own = endpoints_of(*record);
    endpoints.insert(endpoints.end(), own.begin(), own.end());
  }
  return endpoints;
}

bool Member::may_take_over_now(const ClockReading& now) const {
  return phase_ == MemberPhase::kMember && !lapsed_ && !yielding_ && may_take_over_ &&
         now.state != ClockState::kLost && now.tai.latest < written_end_ns_ &&
         !map_change_pending();
}

void Member::consider_take_over(const ClockReading& now) {
  if (!may_take_over_now(now)) return;
  std::map<NodeId, std::uint32_t> owned;
  for (const SlotEntry& slot : map_.slots) ++owned[slot.owner.node];
  const Nanoseconds earliest = saturating_add(now.tai.earliest, -guard_ns_);
  std::vector<OwnerEndpoint> alive = living(now, true);
  const auto rank = std::count_if(alive.begin(), alive.end(), [this](const OwnerEndpoint& each) {
    return each.node < self_.id && each.shard == 0;
  });
  for (const auto& [id, count] : owned) {
    if (id == self_.id) continue;
    const auto found = peers_.find(id);
    const bool known = found != peers_.end();
    const Nanoseconds grace =
        std::max(options_.grace_ns, known ? found->second.record.grace_ns : Nanoseconds{0});
    // Back for long enough that nobody relies on promises without asking this node.
    Nanoseconds from = saturating_add(continuous_since_ns_, grace);
    if (known) {
      const Peer& peer = found->second;
      from = std::max({from, peer.record.lease_end_tai_ns, peer.promised_end_ns});
      if (peer.mod_revision == 0) from = saturating_add(from, grace);
    }
    from = saturating_add(from, rank * options_.stagger_ns);
    if (earliest > from) return begin_take_over(id, now);
    wake(saturating_add(from, now.tai.half_width() + guard_ns_ + kMicrosecond));
  }
}

void Member::begin_take_over(NodeId gone, const ClockReading& now) {
  std::vector<OwnerEndpoint> survivors = living(now, false);
  if (survivors.empty()) survivors = endpoints_of(self_);
  Peer& peer = peers_[gone];
  Nanoseconds leases_until = std::max(peer.record.horizon_tai_ns, peer.promised_horizon_ns);
  if (peer.record.confirmed_revision < joined_revision_) {
    // It may not know that this node is back, and have raised its horizon without asking it.
    leases_until =
        std::max(leases_until, saturating_add(peer.record.horizon_tai_ns, peer.record.grace_ns));
  }
  SlotMap map = map_;
  ++map.version;
  for (const SlotMove& move : fail_over(map_, gone, survivors)) {
    SlotEntry& slot = map.slots[move.slot];
    slot.owner = move.to;
    ++slot.epoch;
    slot.leases_until_tai_ns = std::max(slot.leases_until_tai_ns, leases_until);
    slot.handed_over = false;
  }
  peer.taking_node_revision = peer.mod_revision;
  peer.taking_map_revision = map_revision_;
  begin_map_change(Purpose::kTakeOver, map, now);
  requests_.back().expected.push_back({node_key(gone), peer.mod_revision});
  Pending& pending = pending_[requests_.back().id];
  pending.gone = gone;
  pending.taken = map.count_of(self_.id) - map_.count_of(self_.id);
}

void Member::begin_map_change(Purpose purpose, const SlotMap& map, const ClockReading& now) {
  CoordinatorRequest& request = ask(purpose, now);
  request.expected = {{map_key(), map_revision_}};
  request.puts = {{map_key(), encode(map), 0}};
  request.then = {nodes_key()};
  request.otherwise = {map_key(), nodes_key()};
  pending_[request.id].map = map;
}

void Member::consider_move(const ClockReading& now) {
  std::vector<OwnerEndpoint> members = living(now, false);
  if (members != members_) {
    members_ = members;
    members_since_ns_ = now.tai.middle();
  }
  if (lapsed_ || yielding_ || map_change_pending()) return;
  if (move_) {
    if (move_transferred_) commit_move(now);
    return;
  }
  if (phase_ == MemberPhase::kLeaving && map_.count_of(self_.id) == 0) {
    if (waits_for(Purpose::kLeave)) return;
    CoordinatorRequest& request = ask(Purpose::kLeave, now);
    request.expected = {{map_key(), map_revision_}};
    request.deletes = {node_key(self_.id)};
    request.otherwise = {map_key(), nodes_key()};
    return;
  }
  std::vector<SlotMove> wanted = std::exchange(wanted_moves_, {});
  const bool settled = now.tai.middle() - members_since_ns_ >= options_.rebalance_after_ns;
  if (wanted.empty() && !members.empty() &&
      (self_.state == NodeState::kDraining || (options_.rebalance && settled))) {
    wanted = balance(map_, members);
  }
  // What is still being reclaimed is not handed on: its holders are not known yet.
  std::erase_if(wanted, [&](const SlotMove& move) {
    const SlotEntry& slot = map_.slots[move.slot];
    return slot.owner.node != self_.id || slot.owner == move.to ||
           now.tai.earliest <= slot.fresh_after_tai_ns();
  });
  start_move(std::move(wanted));
}

// Those of the first pair of endpoints, as many as go at once.
void Member::start_move(std::vector<SlotMove> moves) {
  if (moves.empty()) return;
  MoveOrder order;
  order.id = ++last_id_;
  order.from = map_.slots[moves.front().slot].owner;
  order.to = moves.front().to;
  for (const SlotMove& move : moves) {
    const bool same = map_.slots[move.slot].owner == order.from && move.to == order.to;
    if (same && order.slots.size() < options_.move_slots_max) order.slots.push_back(move.slot);
  }
  move_ = std::move(order);
  move_offered_ = false;
  move_transferred_ = false;
}

void Member::transferred(std::uint64_t move, bool done, const ClockReading& now) {
  if (!move_ || move_->id != move) return;
  if (!done) {
    note("a hand-over to node " + std::to_string(move_->to.node) + " did not get through", true);
    move_.reset();
    members_since_ns_ = now.tai.middle();  // not again at once
    return;
  }
  move_transferred_ = true;
  wake(now.tai.middle());
}

void Member::commit_move(const ClockReading& now) {
  horizon_cap_ns_ = std::min(horizon_cap_ns_, horizon());
  SlotMap map = map_;
  ++map.version;
  for (const std::uint16_t at : move_->slots) {
    SlotEntry& slot = map.slots[at];
    slot.owner = move_->to;
    ++slot.epoch;
    slot.leases_until_tai_ns = std::max(slot.leases_until_tai_ns, horizon_cap_ns_);
    slot.handed_over = true;
  }
  begin_map_change(Purpose::kMove, map, now);
}

// The map may say meanwhile that the move is done, or can no longer be.
void Member::check_move() {
  if (!move_) return;
  const auto owned_by = [this](const OwnerEndpoint& owner) {
    return std::all_of(move_->slots.begin(), move_->slots.end(),
                       [&](std::uint16_t slot) { return map_.slots[slot].owner == owner; });
  };
  if (owned_by(move_->from)) return;
  if (owned_by(move_->to)) {
    counters_.moves += move_->slots.size();
    note("handed over " + std::to_string(move_->slots.size()) + " slots to node " +
         std::to_string(move_->to.node));
  }
  move_.reset();
  horizon_cap_ns_ = kNever;
}

void Member::yield() {
  if (phase_ != MemberPhase::kMember || yielding_ || map_.count_of(self_.id) == 0) return;
  note("clients do not reach this node: its slots are given away", true);
  move_.reset();
  yielding_ = true;
  yield_stopped_ = false;
  self_.state = NodeState::kDraining;
  due_ns_ = kLongAgo;
}

void Member::begin_yield(const ClockReading& now) {
  if (!yield_stopped_ || map_change_pending() || now.tai.latest >= lease_end()) return;
  if (map_.count_of(self_.id) == 0) {
    yielding_ = false;
    return;
  }
  const std::vector<OwnerEndpoint> others = living(now, false);
  if (others.empty()) return;
  SlotMap map = map_;
  ++map.version;
  for (const SlotMove& move : fail_over(map_, self_.id, others)) {
    SlotEntry& slot = map.slots[move.slot];
    slot.owner = move.to;
    ++slot.epoch;
    slot.leases_until_tai_ns = std::max(slot.leases_until_tai_ns, horizon_ns_);
    slot.handed_over = false;
  }
  begin_map_change(Purpose::kYield, map, now);
}

}  // namespace driftlock::cluster
