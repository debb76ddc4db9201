// The Engine's locks: acquire to release, waiters.
#include <sodium.h>

#include <algorithm>

#include "src/lock/engine_internal.hpp"

namespace driftlock {
namespace {

using engine_internal::duration_of;
using engine_internal::name_of;
using engine_internal::predicted_us;
using engine_internal::wrapped_us;
using wire::Status;

// Longer than a grant in advance lasts; whatever ends that ends this.
constexpr Nanoseconds kTryWaitNs = 60 * kSecond;
constexpr std::uint32_t kSweepPerTurn = 1024;  // lock records looked at after grants were held back

void set_grant(Slot& slot, const wire::Grant& grant) {
  slot.token = grant.token;
  slot.value = grant.ticket;
}

}  // namespace

wire::Status Engine::may_grant(const ClockReading& now) const {
  if (now.state == ClockState::kLost) return Status::kClockLost;
  if (now.tai.earliest <= options_.ready_after_tai_ns) return Status::kNotReady;
  return Status::kOk;
}

bool Engine::permits_of(const Request& request, std::uint16_t& wanted, std::uint16_t& size) {
  switch (request.mode) {
    case wire::Mode::kExclusive:
      wanted = size = kRwPermits;
      return true;
    case wire::Mode::kShared:
      wanted = 1;
      size = kRwPermits;
      return true;
    case wire::Mode::kSemaphore:
      wanted = request.permits;
      size = request.permits_max;
      return wanted >= 1 && wanted <= size && size < kRwPermits;
  }
  return false;
}

std::uint32_t Engine::find_or_create(std::uint64_t key_hash, const LockName& name,
                                     std::uint16_t size, wire::Status& why_not) {
  const std::uint32_t found = locks_.find(key_hash, name);
  if (found != kNil) {
    if (locks_.lock(found).permits_max == size) return found;
    why_not = Status::kModeConflict;
    return kNil;
  }
  if (!namespaces_.may_create(name.namespace_id)) {
    why_not = Status::kQuota;
    return kNil;
  }
  const std::uint32_t created = locks_.create(key_hash, name, size);
  if (created == kNil) {
    why_not = Status::kFull;
  } else {
    namespaces_.created(name.namespace_id);
  }
  return created;
}

void Engine::forget_if_idle(std::uint32_t lock, std::uint64_t key_hash) {
  if (!locks_.idle(lock)) return;
  namespaces_.erased(locks_.namespace_of(lock));
  locks_.erase(lock, key_hash != 0 ? key_hash : locks_.hash_of(lock));
}

void Engine::acquire(std::uint32_t session_index, const Request& request, std::uint64_t key_hash,
                     Slot& slot, const RequestContext& context) {
  std::uint16_t wanted = 0;
  std::uint16_t size = 0;
  bool take_it_over = (request.flags & wire::kTakeOver) != 0;
  if (key_hash == 0 || !permits_of(request, wanted, size)) {
    slot.status = Status::kBadRequest;
    return;
  }
  if (take_it_over && !namespaces_.fence(request.namespace_id)) {
    slot.status = Status::kDenied;
    return;
  }
  const Status granting = may_grant(context.now);
  // Who is willing to wait may do so until the node is ready; without a clock no wait can be
  // judged.
  if (granting != Status::kOk && (granting == Status::kClockLost || request.argument == 0)) {
    slot.status = granting;
    return;
  }
  if (!namespaces_.admit_acquire(request.namespace_id, context.now.tai.middle()) ||
      !namespaces_.admit_session(request.namespace_id, session_index)) {
    slot.status = Status::kQuota;
    return;
  }
  const std::uint32_t lock = find_or_create(key_hash, name_of(request), size, slot.status);
  if (lock == kNil) return;
  Session& session = sessions_.at(session_index);
  const Lock& state = locks_.lock(lock);
  const std::uint32_t held =
      size == kRwPermits ? locks_.holder_of(lock, session_index, session.claims) : kNil;
  if (held == kNil) tell_asked(key_hash, lock, session_index, context.now);
  take_it_over = take_it_over && held == kNil && granting == Status::kOk &&
                 may_take_over(lock, session_index, wanted);
  if (take_it_over) take_over(lock, session_index);
  if (failing_ != 0 && held == kNil && state.permits_used + wanted > state.permits_max) {
    take_from_failing(lock, context.now);
  }
  const bool free = state.permits_used + wanted <= state.permits_max &&
                    (!locks_.has_waiters(lock) || take_it_over);
  const std::uint32_t advance = advance_on(lock);
  if (held != kNil && held == advance) {
    cross(held, wanted, predicted_us(request.predicted_release_ns), context.now);
    set_grant(slot, grant_of(held, key_hash));
  } else if (held != kNil) {
    slot.status = reenter(held, wanted);
    if (slot.status == Status::kOk) set_grant(slot, grant_of(held, key_hash));
  } else if (free && granting == Status::kOk) {
    const std::uint32_t claim =
        grant(lock, session_index, wanted, predicted_us(request.predicted_release_ns),
              context.now.tai.middle());
    slot.status = claim == kNil ? Status::kFull : Status::kOk;
    if (claim != kNil) set_grant(slot, grant_of(claim, key_hash));
    if (claim != kNil) tell(LockEvent::Kind::kGranted, key_hash, session_index, context.now);
  } else if (request.argument == 0 && (advance == kNil || locks_.has_waiters(lock))) {
    slot.status = Status::kBusy;
  } else {
    // Who only tries waits for the answer of who has it in advance.
    const bool tries = request.argument == 0;
    slot.claim = wait_for(lock, session_index, wanted, tries ? WaitKind::kTry : WaitKind::kPlain,
                          request.slot, tries ? kTryWaitNs : duration_of(request.argument),
                          predicted_us(request.predicted_release_ns), context.now);
    slot.state = slot.claim == kNil ? SlotState::kAnswered : SlotState::kWaiting;
    slot.status = slot.claim == kNil ? Status::kFull : Status::kOk;
    if (free) stalled_ = true;
  }
  if (slot.status == Status::kOk && slot.state == SlotState::kAnswered) {
    extend_lease(session, context, session.quick_term_us);
  }
  if (take_it_over) serve_waiters(lock, context.now);  // an upgrade of what was taken is over
  forget_if_idle(lock, key_hash);
}

wire::Status Engine::reenter(std::uint32_t claim, std::uint16_t permits) {
  Claim& holder = locks_.claim(claim);
  if (holder.depth == 0) return Status::kBusy;                 // its group is not complete yet
  if (holder.permits < permits) return Status::kModeConflict;  // an upgrade is another operation
  if (holder.depth == 0xFF) return Status::kFull;
  ++holder.depth;
  return Status::kOk;
}

std::uint32_t Engine::grant(std::uint32_t lock, std::uint32_t session_index, std::uint16_t permits,
                            std::uint32_t predicted_release_us, Nanoseconds now_ns) {
  Session& session = sessions_.at(session_index);
  const std::uint32_t claim =
      locks_.add_holder(lock, session_index, session.claims, permits, next_token_);
  if (claim == kNil) return kNil;
  ++next_token_;
  ++holders_;
  locks_.claim(claim).predicted_release_us = predicted_release_us;
  locks_.claim(claim).since_us = wrapped_us(now_ns);
  return claim;
}

std::uint32_t Engine::wait_for(std::uint32_t lock, std::uint32_t session_index,
                               std::uint16_t permits, WaitKind kind, std::uint8_t slot,
                               Nanoseconds wait_ns, std::uint32_t predicted_release_us,
                               const ClockReading& now) {
  const std::uint32_t claim =
      locks_.add_waiter(lock, session_index, sessions_.at(session_index).claims, permits, kind);
  if (claim == kNil) return kNil;
  Claim& waiter = locks_.claim(claim);
  waiter.slot = slot;
  waiter.since_us = wrapped_us(now.tai.middle());
  waiter.predicted_release_us = predicted_release_us;
  ++waiters_;
  const std::uint32_t timer = claim - locks_.locks_max();
  wait_deadlines_[timer] = saturating_add(now.tai.latest, wait_ns);
  wait_timers_.schedule(timer, wait_deadlines_[timer]);
  recall(lock, session_index, now);
  return claim;
}

void Engine::release(std::uint32_t session_index, const Request& request, std::uint64_t key_hash,
                     Slot& slot, const RequestContext& context) {
  if (key_hash == 0) {
    slot.status = Status::kBadRequest;
    return;
  }
  Session& session = sessions_.at(session_index);
  const std::uint32_t lock = locks_.find(key_hash, name_of(request));
  const std::uint32_t claim =
      lock == kNil ? kNil : locks_.holder_of(lock, session_index, session.claims, request.argument);
  if (claim == kNil || locks_.claim(claim).depth == 0) {
    const bool under_another_token = claim == kNil && lock != kNil &&
                                     locks_.holder_of(lock, session_index, session.claims) != kNil;
    slot.status = under_another_token ? Status::kStaleToken : Status::kNotHeld;
    return;
  }
  const bool used = locks_.claim(claim).in_advance();
  if (used) {
    const Nanoseconds after_ns = (request.flags & wire::kUsedInAdvance) != 0
                                     ? Nanoseconds{request.used_after_us()} * kMicrosecond
                                     : 0;
    use_advance(claim, LockEvent::Kind::kUsed, after_ns, context.now);
  }
  Claim& holder = locks_.claim(claim);
  const Nanoseconds offset_ns = session.clock_floor.offset_ns();
  if (offset_ns != kNever) slot.token = static_cast<std::uint64_t>(-offset_ns);
  if (holder.predicted_release_us != 0 && request.predicted_release_ns != 0) {
    const auto late_us = static_cast<std::int32_t>(wrapped_us(request.predicted_release_ns) -
                                                   holder.predicted_release_us);
    slot.value = static_cast<std::uint64_t>(Nanoseconds{late_us} * kMicrosecond);
  }
  if (holder.depth > 1) {
    --holder.depth;
  } else {
    after_used_ = used;
    give_back(claim, context.now, key_hash);
    after_used_ = false;
  }
}

void Engine::convert(std::uint32_t session_index, const Request& request, std::uint64_t key_hash,
                     Slot& slot, const RequestContext& context) {
  std::uint16_t wanted = 0;
  std::uint16_t size = 0;
  if (key_hash == 0 || !permits_of(request, wanted, size) || size != kRwPermits) {
    slot.status = Status::kBadRequest;
    return;
  }
  Session& session = sessions_.at(session_index);
  const std::uint32_t lock = locks_.find(key_hash, name_of(request));
  const std::uint32_t index =
      lock == kNil ? kNil : locks_.holder_of(lock, session_index, session.claims, request.argument);
  if (index == kNil || locks_.claim(index).depth == 0) {
    slot.status = Status::kNotHeld;
    return;
  }
  if (locks_.lock(lock).permits_max != kRwPermits) {
    slot.status = Status::kModeConflict;
    return;
  }
  slot.status = may_grant(context.now);
  if (slot.status != Status::kOk) return;
  if (locks_.claim(index).in_advance()) {
    use_advance(index, LockEvent::Kind::kUsed, 0, context.now);
  }
  Claim& holder = locks_.claim(index);
  const std::uint32_t head = locks_.first_waiter(lock);
  if (wanted <= holder.permits) {
    locks_.change_permits(index, wanted);
  } else if (locks_.lock(lock).permits_used == holder.permits) {
    locks_.change_permits(index, wanted);
    rename(index);  // what readers wrote under must not pass for the writer's
  } else if (request.predicted_release_ns <= 0) {
    slot.status = Status::kBusy;
  } else if (head != kNil && locks_.claim(head).wait_kind() == WaitKind::kUpgrade) {
    slot.status = Status::kDeadlock;  // each would wait for the other to let go
  } else {
    slot.claim = wait_for(lock, session_index, wanted, WaitKind::kUpgrade, request.slot,
                          request.predicted_release_ns, holder.predicted_release_us, context.now);
    slot.state = slot.claim == kNil ? SlotState::kAnswered : SlotState::kWaiting;
    slot.status = slot.claim == kNil ? Status::kFull : Status::kOk;
    return;
  }
  if (slot.status != Status::kOk) return;
  set_grant(slot, grant_of(index, key_hash));
  extend_lease(session, context, session.quick_term_us);
  serve_waiters(lock, context.now);
}

// Bound to what was granted, to whom, and under which token. SipHash-2-4 (J.-P. Aumasson, D. J.
// Bernstein, INDOCRYPT 2012): 64 bits, since a ticket can only be tried by asking this node, signed
// (NIST SP 800-38B, appendix A), and short to wait for, which HighwayHash is not on a message of
// its own.
std::uint64_t Engine::ticket_for(std::uint64_t client_id, std::uint64_t key_hash,
                                 std::uint64_t token, std::uint16_t permits) const {
  static_assert(sizeof(options_.ticket_key) >= crypto_shorthash_siphash24_KEYBYTES);
  const std::array<std::uint64_t, 4> message{client_id, key_hash, token, permits};
  std::uint64_t ticket = 0;
  crypto_shorthash_siphash24(
      reinterpret_cast<unsigned char*>(&ticket),
      reinterpret_cast<const unsigned char*>(message.data()), sizeof(message),
      reinterpret_cast<const unsigned char*>(options_.ticket_key.words.data()));
  return ticket;
}

wire::Grant Engine::grant_of(std::uint32_t claim, std::uint64_t key_hash) const {
  const Claim& holder = locks_.claim(claim);
  const std::uint64_t client_id = sessions_.at(holder.session).client_id;
  return {holder.token, ticket_for(client_id, key_hash, holder.token, holder.permits)};
}

void Engine::give_back(std::uint32_t claim, const ClockReading& now, std::uint64_t key_hash) {
  const std::uint32_t lock = locks_.lock_of(claim);
  const Claim& holder = locks_.claim(claim);
  const bool unused = holder.in_advance();
  if (unused) {
    free_advance(claim);
  } else {
    tell(LockEvent::Kind::kReleased, locks_.hash_of(lock), holder.session, now,
         Nanoseconds{wrapped_us(now.tai.middle()) - holder.since_us} * kMicrosecond);
  }
  locks_.remove_claim(claim, sessions_.at(holder.session).claims);
  --holders_;
  serve_waiters(lock, now);
  // Not after a grant in advance that nobody used: it would be made again and again.
  if (!unused && locks_.idle(lock)) tell_freed(lock, now);
  forget_if_idle(lock, key_hash);
}

bool Engine::head_fits(std::uint32_t lock, std::uint32_t head) const {
  const Claim& waiter = locks_.claim(head);
  const Lock& state = locks_.lock(lock);
  std::uint32_t used = state.permits_used;
  if (waiter.wait_kind() == WaitKind::kUpgrade) {
    const std::uint32_t own =
        locks_.holder_of(lock, waiter.session, sessions_.at(waiter.session).claims);
    if (own != kNil) used -= locks_.claim(own).permits;
  }
  return used + waiter.permits <= state.permits_max;
}

void Engine::serve_waiters(std::uint32_t lock, const ClockReading& now) {
  // A group's end may have forgotten the lock already.
  while (locks_.in_use(lock) && locks_.has_waiters(lock)) {
    const std::uint32_t head = locks_.first_waiter(lock);
    const Claim waiter = locks_.claim(head);
    if (sessions_.at(waiter.session).state != SessionState::kActive) {
      // Nobody may wait for the dead; their own end would come to it later.
      if (waiter.wait_kind() == WaitKind::kGroup) {
        end_group(sessions_.slot(waiter.session, waiter.slot).claim, Status::kSessionEnded, now,
                  true);
      } else {
        end_alone(head, Status::kSessionEnded);
      }
      continue;
    }
    if (upgrades_nothing(head)) {
      end_alone(head, Status::kNotHeld);
      continue;
    }
    if (failing_ != 0 && pass_over(head)) continue;
    if (!head_fits(lock, head)) return;
    if (may_grant(now) != Status::kOk) {
      stalled_ = true;
      return;
    }
    grant_head(lock, head, now);
  }
}

// The lock that this wait was to upgrade is held no more: released, or taken over.
bool Engine::upgrades_nothing(std::uint32_t wait) const {
  const Claim& waiter = locks_.claim(wait);
  return waiter.wait_kind() == WaitKind::kUpgrade &&
         locks_.holder_of(locks_.lock_of(wait), waiter.session,
                          sessions_.at(waiter.session).claims) == kNil;
}

void Engine::grant_head(std::uint32_t lock, std::uint32_t head, const ClockReading& now) {
  const Claim waiter = locks_.claim(head);
  const Session& session = sessions_.at(waiter.session);
  Slot& slot = sessions_.slot(waiter.session, waiter.slot);
  const std::uint32_t group = waiter.wait_kind() == WaitKind::kGroup ? slot.claim : kNil;
  const std::uint32_t own = waiter.wait_kind() == WaitKind::kUpgrade
                                ? locks_.holder_of(lock, waiter.session, session.claims)
                                : kNil;
  remove_wait(head);
  std::uint32_t claim = own;
  if (own != kNil) {
    locks_.change_permits(own, waiter.permits);
    rename(own);
  } else {
    claim =
        grant(lock, waiter.session, waiter.permits, waiter.predicted_release_us, now.tai.middle());
    DRIFTLOCK_ASSERT(claim != kNil);  // the waiter's own claim was freed just now
  }
  gauges_.grants_pushed.add();
  const std::uint64_t key_hash = locks_.hash_of(lock);
  tell_granted(waiter, key_hash, now);
  if (group != kNil) {
    member_granted(group, head, claim);
    return;
  }
  slot.state = SlotState::kAnswered;
  slot.status = Status::kOk;
  slot.claim = kNil;
  set_grant(slot, grant_of(claim, key_hash));
  queue_push({0, waiter.session, slot.sequence, waiter.slot});
}

void Engine::remove_wait(std::uint32_t claim) {
  wait_timers_.cancel(claim - locks_.locks_max());
  locks_.remove_claim(claim, sessions_.at(locks_.claim(claim).session).claims);
  --waiters_;
}

void Engine::end_alone(std::uint32_t claim, Status status, bool push) {
  const Claim waiter = locks_.claim(claim);
  Slot& slot = sessions_.slot(waiter.session, waiter.slot);
  const bool tried = waiter.wait_kind() == WaitKind::kTry && status == Status::kTimeout;
  remove_wait(claim);
  slot.state = SlotState::kAnswered;
  slot.status = tried ? Status::kBusy : status;
  slot.claim = kNil;
  if (push) queue_push({0, waiter.session, slot.sequence, waiter.slot});
}

void Engine::end_wait(std::uint32_t claim, Status status, const ClockReading& now, bool push) {
  const Claim waiter = locks_.claim(claim);
  if (waiter.wait_kind() == WaitKind::kGroup) {
    end_group(sessions_.slot(waiter.session, waiter.slot).claim, status, now, push);
    return;
  }
  const std::uint32_t lock = locks_.lock_of(claim);
  end_alone(claim, status, push);
  serve_waiters(lock, now);  // those behind may fit now
  forget_if_idle(lock);
}

void Engine::resume_stalled(const ClockReading& now) {
  if (stalled_ && may_grant(now) == Status::kOk) {
    stalled_ = false;
    sweep_cursor_ = 0;
  }
  if (sweep_cursor_ >= locks_.locks_max()) return;
  sweep_cursor_ = visit_locks(sweep_cursor_, kSweepPerTurn, [&](std::uint32_t lock) {
    serve_waiters(lock, now);
    forget_if_idle(lock);
  });
}

}  // namespace driftlock
