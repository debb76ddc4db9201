// SessionCore: the locks that the session holds, for what has to be known of each: how long it was
// held, and the ticket that proves it to a node which has restarted.
#include <algorithm>

#include "src/client/session_core.hpp"

namespace driftlock::client {
namespace {

std::string held_key(const wire::Request& record) {
  return {record.key.begin(), record.key.begin() + record.key_length};
}

std::string hold_key(const wire::Request& record) {
  std::string key;
  key.push_back(static_cast<char>(record.namespace_id & 0xFF));
  key.push_back(static_cast<char>(record.namespace_id >> 8));
  key.append(record.key.begin(), record.key.begin() + record.key_length);
  return key;
}

}  // namespace

Nanoseconds SessionCore::predicted_hold(const wire::Request& record) const {
  return hold_times_.predict(hold_key(record));
}

std::uint64_t SessionCore::newest_name(std::uint64_t token) const {
  for (const auto& [before, after] : renamed_) {
    if (before == token) token = after;
  }
  return token;
}

void SessionCore::note_renamed(std::uint64_t token, std::uint64_t renamed) {
  if (token == renamed) return;
  renamed_.emplace_back(token, renamed);
  if (renamed_.size() > kRenamedMax) renamed_.pop_front();
}

// A token that is held already is a lock taken again, by the same session.
std::shared_ptr<LockView> SessionCore::note_grant(const wire::Request& record, wire::Grant grant,
                                                  const LocalTime& now) {
  const auto found = held_.find(newest_name(grant.token));
  if (found != held_.end()) {
    ++found->second.depth;
    return found->second.view;
  }
  Held held;
  held.record = record;
  held.ticket = grant.ticket;
  held.since_local_ns = now.local_ns;
  held.view = std::make_shared<LockView>(lease_);
  return held_.emplace(std::uint64_t{grant.token}, held).first->second.view;
}

void SessionCore::note_release_sent(const wire::Request& record, const LocalTime& now) {
  const auto found = held_.find(record.argument);
  if (found == held_.end() || found->second.depth > 1) return;
  hold_times_.record(hold_key(record), now.local_ns - found->second.since_local_ns);
}

void SessionCore::note_release(const wire::Request& record, wire::Status status) {
  const auto found = held_.find(record.argument);
  if (found == held_.end()) return;
  Held& held = found->second;
  if (held.releasing > 0) --held.releasing;
  if (status == wire::Status::kOk && --held.depth > 0) return;
  held.view->lose();
  held_.erase(found);
}

// A release of a lock whose depth the node has forgotten: only the last is for the node.
bool SessionCore::release_here(const Operation& operation) {
  const auto found = held_.find(newest_name(operation.token));
  if (operation.op != wire::Op::kRelease || found == held_.end()) return false;
  Held& held = found->second;
  if (held.depth_here == 0 ||
      !(LockName(held.record.namespace_id, held_key(held.record)) == operation.name)) {
    return false;
  }
  --held.depth_here;
  return true;
}

void SessionCore::note_outcome(const Flight& flight, const wire::Reply& reply,
                               Completion& completion, const LocalTime& now) {
  const wire::Request& record = flight.record;
  if (record.op == wire::Op::kRelease) return note_release(record, reply.status);
  if (record.op == wire::Op::kConvert && reply.status == wire::Status::kNotHeld) {
    return revoke(record.argument);
  }
  if (reply.status != wire::Status::kOk) return;
  if (record.op == wire::Op::kAcquire) {
    completion.lock = note_grant(record, {reply.token, reply.ticket}, now);
  } else if (record.op == wire::Op::kConvert) {
    // The same lock under another token, and perhaps in another mode.
    auto node = held_.extract(record.argument);
    if (node.empty()) return;
    node.key() = reply.token;
    note_renamed(record.argument, reply.token);
    node.mapped().record.mode = record.mode;
    node.mapped().ticket = reply.ticket;
    completion.lock = node.mapped().view;
    held_.insert(std::move(node));
  } else if (record.op == wire::Op::kAcquireGroup) {
    for (std::size_t i = 0; i < flight.grants.size(); ++i) {
      wire::Request member = record;
      member.op = wire::Op::kAcquire;
      member.mode = flight.group[i].mode;
      member.namespace_id = flight.group[i].name.namespace_id;
      member.key_length = flight.group[i].name.length;
      member.key = flight.group[i].name.bytes;
      completion.group.push_back(
          {flight.grants[i].token, note_grant(member, flight.grants[i], now)});
    }
  }
}

void SessionCore::revoke(std::uint64_t token) {
  const auto found = held_.find(token);
  if (found == held_.end()) return;
  found->second.view->lose();
  held_.erase(found);
  events_.push_back({EventKind::kRevoked, wire::Status::kRevoked, 0, 0, token});
}

// Only a later life of the node takes tickets, and only while the lease of before has not passed.
bool SessionCore::can_reclaim(std::uint32_t epoch, const LocalTime& now) {
  return epoch > epoch_ && !held_.empty() && options_.reopen &&
         lease_->state(now.local_ns) != HolderState::kLost;
}

void SessionCore::start_reclaims(const LocalTime& now) {
  announced_ = HolderState::kJeopardy;
  reclaiming_ = 0;
  for (auto it = held_.begin(); it != held_.end();) {
    Held& held = it->second;
    // What was to be released when the node went down is not taken up again.
    held.depth -= std::min(held.depth, held.releasing);
    held.releasing = 0;
    if (held.depth == 0) {
      held.view->lose();
      it = held_.erase(it);
      continue;
    }
    Waiting reclaim;
    reclaim.id = ++last_id_;
    reclaim.own = true;
    reclaim.submitted_ns = now.local_ns;
    reclaim.operation.op = wire::Op::kReclaim;
    wire::Request record = held.record;
    record.op = wire::Op::kReclaim;
    record.flags = 0;
    record.other_slot = 0;
    record.argument = it->first;
    record.predicted_release_ns = static_cast<std::int64_t>(held.ticket);
    if (record.mode != wire::Mode::kSemaphore) record.permits = record.permits_max = 0;
    reclaim.ready = record;
    waiting_.push_back(reclaim);
    ++reclaiming_;
    ++it;
  }
  if (reclaiming_ == 0) lease_ = std::make_shared<LeaseView>();
}

void SessionCore::settle_reclaim(Flight& flight, const wire::Reply& reply, const LocalTime& now) {
  const std::uint64_t token = flight.record.argument;
  if (reply.status == wire::Status::kOk) {
    const auto found = held_.find(token);
    if (found != held_.end()) found->second.depth_here = found->second.depth - 1;
    lease_end_ns_ = std::max<Nanoseconds>(lease_end_ns_, reply.lease_end_ns);
  } else {
    revoke(token);
  }
  finish(flight, Verdict::kAnswered, reply, now);
  DRIFTLOCK_ASSERT(reclaiming_ > 0);
  if (--reclaiming_ > 0) return;
  extend_lease(now);
  events_.push_back({EventKind::kReclaimed, wire::Status::kOk, lease_->safe_until_ns(), 0, 0});
}

// Puts the names of a group's locks into the records that follow its request.
bool SessionCore::fill_group(const Operation& operation, Flight& flight) {
  const std::vector<GroupMember>& group = operation.group;
  if (group.empty() || group.size() > wire::kGroupKeysMax) return false;
  std::vector<std::uint8_t> names;
  for (const GroupMember& member : group) {
    names.push_back(static_cast<std::uint8_t>(member.name.namespace_id & 0xFF));
    names.push_back(static_cast<std::uint8_t>(member.name.namespace_id >> 8));
    names.push_back(static_cast<std::uint8_t>(member.mode));
    names.push_back(member.name.length);
    names.insert(names.end(), member.name.bytes.begin(),
                 member.name.bytes.begin() + member.name.length);
  }
  constexpr std::size_t kBody = sizeof(wire::More::body);
  const std::size_t records =
      std::max((names.size() + kBody - 1) / kBody, wire::more_records(group.size()));
  if (records + 1 > wire::kOpsMax) return false;
  flight.group = group;
  flight.more.assign(records, wire::More{});
  for (std::size_t i = 0; i < names.size(); ++i) flight.more[i / kBody].body[i % kBody] = names[i];
  flight.record.key_length = 0;
  flight.record.key = {};
  flight.record.permits = static_cast<std::uint16_t>(group.size());
  flight.record.other_slot = static_cast<std::uint8_t>(records);
  return true;
}

}  // namespace driftlock::client
