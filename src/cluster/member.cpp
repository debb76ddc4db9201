// Member: its life, from what is written at the coordinator to its own record there, renewed.
#include "src/cluster/member.hpp"

#include <algorithm>

namespace driftlock::cluster {
namespace {

constexpr Nanoseconds kIdleNs = kSecond;  // step() is wanted so often, whatever happens

}  // namespace

Member::Member(const MemberOptions& options, const NodeRecord& self)
    : options_(options), self_(self) {
  DRIFTLOCK_ASSERT(self.id != 0 && self.shards != 0);
  DRIFTLOCK_ASSERT(options.renew_ns > 0 && options.renew_ns < options.ownership_ns);
  self_.grace_ns = options.grace_ns;
}

void Member::step(const ClockReading& now, Nanoseconds lease_end_wanted_tai_ns) {
  const Nanoseconds middle = now.tai.middle();
  lease_end_wanted_ns_ = lease_end_wanted_tai_ns;
  wake_at_ns_ = saturating_add(middle, kIdleNs);
  check_lapse(now);
  if (now.state == ClockState::kLost) return;  // no lease can be judged: what there is runs out
  if (phase_ == MemberPhase::kReading && !waits_for(Purpose::kRead) && middle >= due_ns_) {
    begin_read(now);
  } else if (phase_ == MemberPhase::kJoining && !waits_for(Purpose::kJoin) && middle >= due_ns_) {
    begin_join(now);
  } else if (phase_ == MemberPhase::kMember || phase_ == MemberPhase::kLeaving) {
    horizon_wanted_ns_ = std::max(horizon_wanted_ns_, horizon_wanted(now));
    raise_horizon();
    if (middle >= due_ns_ && !waits_for(Purpose::kRenew)) begin_renewal(now);
    if (middle >= ask_due_ns_) ask_peers(now);
    if (yielding_) begin_yield(now);
    consider_take_over(now);
    consider_move(now);
  }
  wake(std::max(due_ns_, middle + kMillisecond));
}

Nanoseconds Member::horizon_wanted(const ClockReading& now) const {
  const Nanoseconds default_end = saturating_add(now.tai.latest, options_.term_default_ns);
  // Until the next renewal is confirmed no more can be promised than what is published now.
  return std::min(horizon_cap_ns_, saturating_add(std::max(lease_end_wanted_ns_, default_end),
                                                  2 * options_.renew_ns));
}

Nanoseconds Member::lease_end() const {
  const Nanoseconds promised = std::min(promised_by_all(&Peer::got_end_ns),
                                        saturating_add(confirmed_at_ns_, options_.grace_ns));
  return saturating_add(std::max(written_end_ns_, promised), -guard_ns_);
}

Nanoseconds Member::serve_until() const {
  const bool may =
      (phase_ == MemberPhase::kMember || phase_ == MemberPhase::kLeaving) && !lapsed_ && !yielding_;
  return may ? lease_end() : kLongAgo;
}

// What was in force once stays so: who promised it then keeps to it, and who was not asked then
// does not take over before it has heard more.
void Member::raise_horizon() {
  if (written_horizon_ns_ == kLongAgo || lapsed_ || yielding_) return;
  const Nanoseconds promised = std::min({promised_by_all(&Peer::got_horizon_ns), horizon_wanted_ns_,
                                         saturating_add(written_horizon_ns_, options_.grace_ns)});
  horizon_ns_ =
      std::max(horizon_ns_, std::min(horizon_cap_ns_, std::max(written_horizon_ns_, promised)));
}

void Member::check_lapse(const ClockReading& now) {
  if (lapsed_ || now.tai.latest < lease_end()) return;
  lapsed_ = true;
  ++counters_.lapses;
  asked_.clear();
  for (auto& [id, peer] : peers_) peer.got_end_ns = peer.got_horizon_ns = kLongAgo;
  if (map_.count_of(self_.id) != 0) {
    note("the ownership lease has ended and is not renewed: nothing is served until it is", true);
  }
}

CoordinatorRequest& Member::ask(Purpose purpose, const ClockReading& now) {
  CoordinatorRequest& request = requests_.emplace_back();
  request.id = ++last_id_;
  Pending& pending = pending_[request.id];
  pending.purpose = purpose;
  pending.begun_earliest_ns = now.tai.earliest;
  pending.begun_latest_ns = now.tai.latest;
  return request;
}

bool Member::waits_for(Purpose purpose) const {
  return std::any_of(pending_.begin(), pending_.end(),
                     [purpose](const auto& each) { return each.second.purpose == purpose; });
}

void Member::begin_read(const ClockReading& now) {
  CoordinatorRequest& request = ask(Purpose::kRead, now);
  request.then = {map_key(), nodes_key()};
  due_ns_ = now.tai.middle() + options_.renew_ns;
}

void Member::begin_join(const ClockReading& now) {
  if (before_ && before_->incarnation >= self_.incarnation) {
    phase_ = MemberPhase::kOusted;
    note("node " + std::to_string(self_.id) + " has lived before, to incarnation " +
             std::to_string(before_->incarnation) +
             ": this state directory is another node's, or was lost",
         true);
    return;
  }
  if (before_ && now.tai.earliest <= before_->lease_end_tai_ns) {
    wake(before_->lease_end_tai_ns + now.tai.half_width() + kMicrosecond);
    due_ns_ = now.tai.middle() + kMillisecond;
    return;
  }
  const Nanoseconds leases_until =
      std::max(before_ ? before_->horizon_tai_ns : kLongAgo, self_.horizon_tai_ns);
  SlotMap map = map_;
  ++map.version;
  for (std::uint32_t i = 0; i < kSlotCount; ++i) {
    SlotEntry& slot = map.slots[i];
    if (map.version > 1 && slot.owner.node != self_.id) continue;
    const bool fits = slot.owner.node == self_.id && slot.owner.shard < self_.shards;
    if (!fits) slot.owner = {self_.id, static_cast<std::uint16_t>(i % self_.shards)};
    slot.epoch = std::max(slot.epoch + 1, map.version == 1 ? self_.incarnation : 0);
    slot.leases_until_tai_ns = std::max(slot.leases_until_tai_ns, leases_until);
    slot.handed_over = false;
  }
  const bool changes = map.version == 1 || map_.count_of(self_.id) != 0;
  horizon_wanted_ns_ = horizon_wanted(now);
  self_.lease_end_tai_ns = saturating_add(now.tai.latest, options_.ownership_ns);
  self_.horizon_tai_ns = std::max(self_.horizon_tai_ns, horizon_wanted_ns_);
  CoordinatorRequest& request = ask(Purpose::kJoin, now);
  request.expected = {{map_key(), map_revision_}, {node_key(self_.id), before_revision_}};
  request.puts = {{node_key(self_.id), encode(self_), 0}};
  if (changes) request.puts.push_back({map_key(), encode(map), 0});
  request.then = {nodes_key()};
  request.otherwise = {map_key(), nodes_key()};
  Pending& pending = pending_[request.id];
  pending.lease_end_ns = self_.lease_end_tai_ns;
  pending.horizon_ns = self_.horizon_tai_ns;
  pending.map = changes ? map : SlotMap{};
}

void Member::begin_renewal(const ClockReading& now) {
  self_.lease_end_tai_ns =
      std::max(self_.lease_end_tai_ns, saturating_add(now.tai.latest, options_.ownership_ns));
  self_.horizon_tai_ns = std::max(self_.horizon_tai_ns, horizon_wanted_ns_);
  CoordinatorRequest& request = ask(Purpose::kRenew, now);
  request.expected = {{map_key(), map_revision_}, {node_key(self_.id), self_revision_}};
  request.puts = {{node_key(self_.id), encode(self_), 0}};
  request.then = {nodes_key()};
  request.otherwise = {map_key(), nodes_key()};
  Pending& pending = pending_[request.id];
  pending.lease_end_ns = self_.lease_end_tai_ns;
  pending.horizon_ns = self_.horizon_tai_ns;
  due_ns_ = now.tai.middle() + options_.renew_ns;
}

void Member::answered(const CoordinatorAnswer& answer, const ClockReading& now) {
  check_lapse(now);
  if (answer.id == 0) return absorb(answer);
  const auto found = pending_.find(answer.id);
  if (found == pending_.end()) return;
  const Pending pending = found->second;
  pending_.erase(found);
  wake(now.tai.middle());
  if (!answer.reached) {
    if (trouble_.empty()) note("the coordinator does not answer: " + answer.trouble, true);
    trouble_ = answer.trouble.empty() ? "no answer" : answer.trouble;
    if (pending.purpose == Purpose::kRenew) ++counters_.renewals_failed;
    return;
  }
  if (!trouble_.empty()) note("the coordinator answers again");
  trouble_.clear();
  settle(pending, answer, now);
}

void Member::settle(const Pending& pending, const CoordinatorAnswer& answer,
                    const ClockReading& now) {
  if (pending.purpose == Purpose::kJoin) return settle_join(pending, answer, now);
  // A renewal is bound to the map as it was known: anything newer that is read counts afterwards.
  if (answer.succeeded && pending.purpose == Purpose::kRenew) {
    self_revision_ = answer.revision;
  } else if (answer.succeeded && pending.map.version != 0) {
    map_ = pending.map;
    map_revision_ = answer.revision;
    check_move();
  }
  absorb(answer);
  switch (pending.purpose) {
    case Purpose::kRead:
      if (phase_ == MemberPhase::kReading) phase_ = MemberPhase::kJoining;
      return;
    case Purpose::kRenew:
      if (answer.succeeded) return confirm(pending, now);
      ++counters_.renewals_failed;
      due_ns_ = kLongAgo;
      return;
    case Purpose::kTakeOver:
      peers_[pending.gone].taking_node_revision = 0;
      if (!answer.succeeded) return;
      counters_.take_overs += pending.taken;
      note("node " + std::to_string(pending.gone) +
           "'s lease has ended: its slots have new owners");
      return;
    case Purpose::kMove:
      horizon_cap_ns_ = kNever;  // still to be made where another change came first
      return;
    case Purpose::kYield:
      if (!answer.succeeded) return;
      yielding_ = false;
      horizon_cap_ns_ = kNever;
      ++counters_.yields;
      return;
    case Purpose::kLeave:
      if (answer.succeeded) phase_ = MemberPhase::kLeft;
      return;
    case Purpose::kJoin:
      return;
  }
}

void Member::settle_join(const Pending& pending, const CoordinatorAnswer& answer,
                         const ClockReading& now) {
  if (!answer.succeeded) {
    absorb(answer);
    due_ns_ = kLongAgo;
    return;
  }
  if (pending.map.version != 0) {
    map_ = pending.map;
    map_revision_ = answer.revision;
  }
  self_revision_ = answer.revision;
  phase_ = MemberPhase::kMember;
  absorb(answer);
  confirm(pending, now);
  note("joined as node " + std::to_string(self_.id) + ", " +
       std::to_string(map_.count_of(self_.id)) + " slots");
}

void Member::confirm(const Pending& pending, const ClockReading& now) {
  ++counters_.renewals;
  if (now.tai.latest >= written_end_ns_) {
    continuous_since_ns_ = now.tai.latest;
    joined_revision_ = self_revision_;
  }
  if (std::exchange(lapsed_, false) && counters_.lapses != 0) {
    note("the ownership lease is renewed again");
  }
  written_end_ns_ = std::max(written_end_ns_, pending.lease_end_ns);
  written_horizon_ns_ = std::max(written_horizon_ns_, pending.horizon_ns);
  confirmed_at_ns_ = std::max(confirmed_at_ns_, pending.begun_earliest_ns);
  self_.confirmed_revision = self_revision_;
  raise_horizon();
  for (auto& [id, peer] : peers_) {
    peer.lapsed = pending.begun_earliest_ns > peer.record.lease_end_tai_ns;
  }
}

void Member::absorb(const CoordinatorAnswer& answer) {
  for (const KeyValue& pair : answer.read) {
    if (pair.key == map_key()) absorb_map(pair);
  }
  absorb_nodes(answer);
}

void Member::absorb_map(const KeyValue& pair) {
  if (pair.mod_revision <= map_revision_) return;
  Result<SlotMap> map = decode_slot_map(pair.value);
  if (!map.ok()) return note(map_key() + ": " + map.error().message, true);
  map_ = std::move(map).value();
  map_revision_ = pair.mod_revision;
  check_move();
}

void Member::absorb_nodes(const CoordinatorAnswer& answer) {
  const bool all = std::find(answer.read_names.begin(), answer.read_names.end(), nodes_key()) !=
                   answer.read_names.end();
  if (all && answer.revision < nodes_revision_) return;
  if (all) nodes_revision_ = answer.revision;
  std::vector<NodeId> seen;
  for (const KeyValue& pair : answer.read) {
    if (pair.key.rfind(nodes_key(), 0) != 0) continue;
    const Result<NodeRecord> record = decode_node_record(pair.value);
    if (!record.ok() || node_key(record.value().id) != pair.key) {
      note(pair.key + ": " + (record.ok() ? "another node's record" : record.error().message),
           true);
      continue;
    }
    seen.push_back(record.value().id);
    if (record.value().id != self_.id) {
      Peer& peer = peers_[record.value().id];
      if (pair.mod_revision < peer.mod_revision) continue;
      if (peer.record.incarnation != record.value().incarnation) {
        peer.promised_end_ns = peer.promised_horizon_ns = kLongAgo;
      }
      peer.record = record.value();
      peer.mod_revision = pair.mod_revision;
    } else if (phase_ == MemberPhase::kReading || phase_ == MemberPhase::kJoining) {
      before_ = record.value();
      before_revision_ = pair.mod_revision;
      // A join whose answer was lost: it is this life's own record.
      if (before_->incarnation == self_.incarnation) before_->incarnation -= 1;
    } else if (record.value().incarnation == self_.incarnation) {
      self_revision_ = std::max(self_revision_, pair.mod_revision);
    } else if (record.value().incarnation > self_.incarnation) {
      phase_ = MemberPhase::kOusted;
      note("another life of node " + std::to_string(self_.id) + " has begun elsewhere", true);
    }
  }
  if (!all) return;
  for (auto it = peers_.begin(); it != peers_.end();) {
    const bool there = std::find(seen.begin(), seen.end(), it->first) != seen.end();
    // An owner whose record is gone still owns, until somebody takes over.
    if (!there) it->second.mod_revision = 0;
    it = there || map_.count_of(it->first) != 0 ? std::next(it) : peers_.erase(it);
  }
}

void Member::leave() {
  if (phase_ == MemberPhase::kMember) phase_ = MemberPhase::kLeaving;
}

void Member::note(std::string text, bool trouble) {
  notes_.push_back({std::move(text), trouble});
}

namespace {

template <typename T>
bool take(std::deque<T>& from, T& to) {
  if (from.empty()) return false;
  to = std::move(from.front());
  from.pop_front();
  return true;
}

}  // namespace

bool Member::next_request(CoordinatorRequest& request) {
  return take(requests_, request);
}

bool Member::next_message(PeerMessage& message) {
  return take(messages_, message);
}

bool Member::next_note(Note& note) {
  return take(notes_, note);
}

bool Member::next_move(MoveOrder& order) {
  if (!move_ || move_offered_) return false;
  move_offered_ = true;
  order = *move_;
  return true;
}

}  // namespace driftlock::cluster
