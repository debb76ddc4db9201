// The Engine's group acquires: several locks, all or nothing.
//
// A group joins the queues of all its locks in one step. Since every group does so at one instant
// of the lcore, any two groups stand in the same order in every queue they share: no two can wait
// for each other, whatever order the keys were named in. (Conservative two-phase locking with
// atomic enqueueing.)
#include <algorithm>

#include "src/lock/engine_internal.hpp"

namespace driftlock {

using wire::Status;

bool Engine::parse_group(const wire::Request& request, std::span<const std::uint8_t> names,
                         GroupMembers& members) const {
  if (request.permits < 1 || request.permits > wire::kGroupKeysMax) return false;
  for (std::size_t i = 0; i < request.permits; ++i) {
    if (names.size() < wire::kGroupKeyHeadBytes) return false;
    const auto namespace_id = wire::load<std::uint16_t>(names.data());
    const auto mode = static_cast<wire::Mode>(names[2]);
    const std::size_t length = names[3];
    names = names.subspan(wire::kGroupKeyHeadBytes);
    if (length < 1 || length > wire::kKeyBytesMax || length > names.size()) return false;
    if (mode != wire::Mode::kExclusive && mode != wire::Mode::kShared) return false;
    GroupMember& member = members[i];
    member.name = {namespace_id, names.first(length)};
    member.key_hash = locks_.hash(member.name);
    member.permits = mode == wire::Mode::kExclusive ? kRwPermits : std::uint16_t{1};
    names = names.subspan(length);
    for (std::size_t j = 0; j < i; ++j) {
      const LockName& other = members[j].name;
      if (other.namespace_id == namespace_id && std::ranges::equal(other.key, member.name.key)) {
        return false;
      }
    }
  }
  return true;
}

// What forbids the whole group, seen before anything is touched.
wire::Status Engine::check_group(std::uint32_t session_index, std::span<const GroupMember> members,
                                 bool may_wait, const ClockReading& now) {
  const Status granting = may_grant(now);
  if (granting == Status::kClockLost || (granting != Status::kOk && !may_wait)) return granting;
  const Session& session = sessions_.at(session_index);
  for (const GroupMember& member : members) {
    if (!namespaces_.admit_acquire(member.name.namespace_id, now.tai.middle()) ||
        !namespaces_.admit_session(member.name.namespace_id, session_index)) {
      return Status::kQuota;
    }
    const std::uint32_t lock = locks_.find(member.key_hash, member.name);
    if (lock == kNil) continue;
    const Lock& state = locks_.lock(lock);
    if (state.permits_max != kRwPermits) return Status::kModeConflict;
    const std::uint32_t own = locks_.holder_of(lock, session_index, session.claims);
    if (own != kNil && !locks_.claim(own).in_advance()) return Status::kModeConflict;
    if (own != kNil) {  // its client has given it up for this
      return_advance(own, now);
      continue;
    }
    const bool free =
        !locks_.has_waiters(lock) && state.permits_used + member.permits <= state.permits_max;
    if (!free && !may_wait) {
      recall(lock, session_index, now);  // so that the next try finds it free
      return Status::kBusy;
    }
  }
  return Status::kOk;
}

void Engine::acquire_group(std::uint32_t session_index, const wire::Request& request,
                           std::span<const GroupMember> members, Slot& slot,
                           const RequestContext& context) {
  slot.status = check_group(session_index, members, request.argument != 0, context.now);
  if (slot.status != Status::kOk) return;
  if (free_group_ == kNil) {
    slot.status = Status::kFull;
    return;
  }
  const std::uint32_t group_index = free_group_;
  Group& group = groups_[group_index];
  free_group_ = group.next_free;
  group = Group{};
  group.session = session_index;
  group.slot = request.slot;
  slot.claim = group_index;
  slot.state = SlotState::kWaiting;
  for (const GroupMember& member : members) {
    if (join_group(group, group_index, member, request, context)) continue;
    const Status why_not = slot.status;
    end_group(group_index, why_not, context.now, false);
    return;
  }
  if (group.pending != 0) return;
  complete_group(group, slot);
  Session& session = sessions_.at(session_index);
  extend_lease(session, context, session.quick_term_us);
}

void Engine::complete_group(const Group& group, Slot& slot) {
  for (std::size_t i = 0; i < group.count; ++i) locks_.claim(group.claims[i]).depth = 1;
  slot.state = SlotState::kAnswered;
  slot.status = Status::kOk;
}

// False, with slot.status set, where a table is full.
bool Engine::join_group(Group& group, std::uint32_t group_index, const GroupMember& member,
                        const wire::Request& request, const RequestContext& context) {
  Slot& slot = sessions_.slot(group.session, group.slot);
  DRIFTLOCK_ASSERT(slot.claim == group_index);
  const std::uint32_t lock = find_or_create(member.key_hash, member.name, kRwPermits, slot.status);
  if (lock == kNil) return false;
  const Lock& state = locks_.lock(lock);
  const std::uint32_t predicted = engine_internal::predicted_us(request.predicted_release_ns);
  const bool free =
      !locks_.has_waiters(lock) && state.permits_used + member.permits <= state.permits_max;
  const bool granted = free && may_grant(context.now) == Status::kOk;
  const std::uint32_t claim =
      granted ? grant(lock, group.session, member.permits, predicted, context.now.tai.middle())
              : wait_for(lock, group.session, member.permits, WaitKind::kGroup, group.slot,
                         engine_internal::duration_of(request.argument), predicted, context.now);
  if (claim == kNil) {
    slot.status = Status::kFull;
    forget_if_idle(lock);
    return false;
  }
  if (granted) {
    locks_.claim(claim).depth = 0;
    group.grants[group.count] = grant_of(claim, member.key_hash);
  } else {
    ++group.pending;
    if (free) stalled_ = true;
  }
  group.claims[group.count++] = claim;
  return true;
}

void Engine::member_granted(std::uint32_t group_index, std::uint32_t wait, std::uint32_t holder) {
  Group& group = groups_[group_index];
  const auto members = std::span(group.claims).first(group.count);
  const auto at = std::find(members.begin(), members.end(), wait);
  DRIFTLOCK_ASSERT(at != members.end());
  *at = holder;
  locks_.claim(holder).depth = 0;
  group.grants[static_cast<std::size_t>(at - members.begin())] =
      grant_of(holder, locks_.hash_of(locks_.lock_of(holder)));
  if (--group.pending != 0) return;
  Slot& slot = sessions_.slot(group.session, group.slot);
  complete_group(group, slot);
  queue_push({0, group.session, slot.sequence, group.slot});
}

void Engine::end_group(std::uint32_t group_index, Status status, const ClockReading& now,
                       bool push) {
  // All of it first, so that whoever is served by what is given back finds no half of it.
  const Group group = groups_[group_index];
  Slot& slot = sessions_.slot(group.session, group.slot);
  slot.state = SlotState::kAnswered;
  slot.status = status;
  slot.claim = kNil;
  free_group(group_index);
  std::array<std::uint32_t, wire::kGroupKeysMax> locks{};
  for (std::size_t i = 0; i < group.count; ++i) {
    const std::uint32_t claim = group.claims[i];
    locks[i] = locks_.lock_of(claim);
    if (locks_.claim(claim).holds()) {
      locks_.remove_claim(claim, sessions_.at(group.session).claims);
      --holders_;
    } else {
      remove_wait(claim);
    }
  }
  for (std::size_t i = 0; i < group.count; ++i) {
    serve_waiters(locks[i], now);
    if (locks_.in_use(locks[i])) forget_if_idle(locks[i]);
  }
  if (push) queue_push({0, group.session, slot.sequence, group.slot});
}

void Engine::free_group(std::uint32_t group_index) {
  groups_[group_index].session = kNil;
  groups_[group_index].next_free = free_group_;
  free_group_ = group_index;
}

std::size_t Engine::write_grants(const Slot& slot, std::span<wire::More> more) const {
  if (slot.claim == kNil) return 0;
  const Group& group = groups_[slot.claim];
  for (std::size_t i = 0; i < group.count; ++i) {
    wire::store(more[i / wire::kGrantsPerRecord].body.data() +
                    (i % wire::kGrantsPerRecord) * sizeof(wire::Grant),
                group.grants[i]);
  }
  return wire::more_records(group.count);
}

}  // namespace driftlock
