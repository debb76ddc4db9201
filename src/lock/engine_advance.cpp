// The Engine's grants in advance: a free lock is given to a session that has not asked for it yet
// but is expected to, and takes such grants. It is a hold like any other; only that nobody knows
// yet whether it is used. The session says so when it releases the lock, or keeps it for longer, or
// asks for it; or it gives it back unused, of itself or when it is called back. Whatever it does
// not say, the end of the grant decides, which comes no later than its lease's.
#include <algorithm>

#include "src/lock/engine_internal.hpp"

namespace driftlock {
namespace {

using engine_internal::name_of;
using engine_internal::wrapped_us;
using wire::Status;

constexpr std::uint8_t kInAdvance = 1;                     // Claim::slot
constexpr Nanoseconds kRecallAgainNs = 20 * kMillisecond;  // a push may be lost
constexpr Nanoseconds kShortestTermNs = 2 * kMillisecond;  // less is not worth a push

}  // namespace

bool Engine::grant_in_advance(std::uint64_t key_hash, const LockName& name,
                              std::uint32_t session_index, Nanoseconds term_ns,
                              const ClockReading& now) {
  if (session_index >= sessions_.capacity() || takes_advances_[session_index] == 0) return false;
  const Session& session = sessions_.at(session_index);
  if (session.state != SessionState::kActive || may_grant(now) != Status::kOk) return false;
  // Nothing is promised past the lease, which is not extended by this.
  const Nanoseconds end_ns =
      std::min(saturating_add(now.tai.latest, term_ns), session.lease_end_ns);
  if (end_ns < now.tai.latest + kShortestTermNs || free_advance_ == kNil) return false;
  Status why_not = Status::kOk;
  const std::uint32_t lock = find_or_create(key_hash, name, kRwPermits, why_not);
  if (lock == kNil) return false;
  const bool free = locks_.idle(lock);
  const std::uint32_t claim =
      free ? grant(lock, session_index, kRwPermits, 0, now.tai.middle()) : kNil;
  if (claim == kNil) {
    forget_if_idle(lock);
    return false;
  }
  const std::uint32_t index = free_advance_;
  Advance& advance = advances_[index];
  free_advance_ = advance.next_free;
  advance = Advance{};
  advance.claim = claim;
  advance.freed_ns = now.tai.middle();
  advance.end_ns = end_ns;
  advance.token = locks_.claim(claim).token;
  locks_.claim(claim).slot = kInAdvance;
  locks_.claim(claim).predicted_release_us = index;
  advance_timers_.schedule(index, end_ns);
  queue_push({advance.token, session_index, index, wire::kNoSlot, Op::kAdvance});
  gauges_.advances_made.add();
  gauges_.advances.set(gauges_.advances.read() + 1);
  return true;
}

std::uint32_t Engine::advance_on(std::uint32_t lock) const {
  const std::uint32_t first = locks_.first_holder(lock);
  return first != kNil && locks_.claim(first).in_advance() ? first : kNil;
}

void Engine::free_advance(std::uint32_t claim) {
  Claim& holder = locks_.claim(claim);
  const std::uint32_t index = holder.predicted_release_us;
  advance_timers_.cancel(index);
  advances_[index].claim = kNil;
  advances_[index].next_free = free_advance_;
  free_advance_ = index;
  holder.slot = 0;
  holder.predicted_release_us = 0;
  gauges_.advances.set(gauges_.advances.read() - 1);
}

void Engine::use_advance(std::uint32_t claim, LockEvent::Kind kind, Nanoseconds span_ns,
                         const ClockReading& now) {
  Claim& holder = locks_.claim(claim);
  const Advance advance = advance_of(holder);
  const std::uint64_t key_hash = locks_.hash_of(locks_.lock_of(claim));
  free_advance(claim);
  const bool crossed = kind == LockEvent::Kind::kCrossed;
  const Nanoseconds now_ns = now.tai.middle();
  holder.since_us =
      wrapped_us(crossed ? now_ns : std::min(now_ns, saturating_add(advance.freed_ns, span_ns)));
  gauges_.advances_used.add();
  if (crossed) gauges_.advances_crossed.add();
  tell(kind, key_hash, holder.session, now, span_ns);
  if (advance.asker != kNil) tell(LockEvent::Kind::kAsked, key_hash, advance.asker, now);
}

void Engine::return_advance(std::uint32_t claim, const ClockReading& now) {
  const Advance advance = advance_of(locks_.claim(claim));
  const std::uint64_t key_hash = locks_.hash_of(locks_.lock_of(claim));
  const bool called = advance.recalled_ns != kLongAgo;
  gauges_.advances_returned.add();
  tell(LockEvent::Kind::kReturned, key_hash, locks_.claim(claim).session, now, 0,
       called ? now.tai.middle() - advance.recalled_ns : 0);
  if (advance.asker != kNil) tell(LockEvent::Kind::kAsked, key_hash, advance.asker, now);
  recalled_ns_ = advance.recalled_ns;
  give_back(claim, now);
  recalled_ns_ = kLongAgo;
}

void Engine::recall(std::uint32_t lock, std::uint32_t asker, const ClockReading& now) {
  const std::uint32_t claim = advance_on(lock);
  if (claim == kNil || locks_.claim(claim).session == asker) return;
  Advance& advance = advance_of(locks_.claim(claim));
  if (advance.recalled_ns != kLongAgo) return;
  advance.recalled_ns = now.tai.middle();
  const std::uint32_t index = locks_.claim(claim).predicted_release_us;
  advance_timers_.schedule(index, std::min(advance.end_ns, now.tai.latest + kRecallAgainNs));
  queue_push({advance.token, locks_.claim(claim).session, index, wire::kNoSlot, Op::kRecall});
  gauges_.advances_recalled.add();
}

// Its end, or time to call it back again.
void Engine::advance_passed(std::uint32_t index, const ClockReading& now) {
  const Advance& advance = advances_[index];
  if (advance.claim == kNil) return;
  if (advance.end_ns < now.tai.earliest) {
    gauges_.advances_expired.add();
    return_advance(advance.claim, now);
    return;
  }
  Nanoseconds next_ns = advance.end_ns;
  if (advance.recalled_ns != kLongAgo) {
    queue_push(
        {advance.token, locks_.claim(advance.claim).session, index, wire::kNoSlot, Op::kRecall});
    next_ns = std::min(next_ns, now.tai.latest + kRecallAgainNs);
  }
  advance_timers_.schedule(index, next_ns);
}

void Engine::cross(std::uint32_t claim, std::uint16_t permits, std::uint32_t predicted_release_us,
                   const ClockReading& now) {
  const Nanoseconds since_ns = now.tai.middle() - advance_of(locks_.claim(claim)).freed_ns;
  use_advance(claim, LockEvent::Kind::kCrossed, since_ns, now);
  locks_.claim(claim).predicted_release_us = predicted_release_us;
  const std::uint32_t lock = locks_.lock_of(claim);
  end_try(lock, now);
  if (permits == kRwPermits) return;
  locks_.change_permits(claim, permits);
  serve_waiters(lock, now);
}

void Engine::end_try(std::uint32_t lock, const ClockReading& now) {
  const std::uint32_t head = locks_.first_waiter(lock);
  if (head == kNil || locks_.claim(head).wait_kind() != WaitKind::kTry) return;
  end_wait(head, Status::kBusy, now, true);
}

std::uint32_t Engine::holder_named(std::uint32_t session_index, const Request& request,
                                   std::uint64_t key_hash) const {
  if (key_hash == 0) return kNil;
  const std::uint32_t lock = locks_.find(key_hash, name_of(request));
  if (lock == kNil) return kNil;
  return locks_.holder_of(lock, session_index, sessions_.at(session_index).claims,
                          request.argument);
}

void Engine::keep(std::uint32_t session_index, const Request& request, std::uint64_t key_hash,
                  Slot& slot, const RequestContext& context) {
  const std::uint32_t claim = holder_named(session_index, request, key_hash);
  if (claim == kNil || locks_.claim(claim).depth == 0) {
    slot.status = key_hash == 0 ? Status::kBadRequest : Status::kNotHeld;
    return;
  }
  if (locks_.claim(claim).in_advance()) {
    use_advance(claim, LockEvent::Kind::kUsed, Nanoseconds{request.used_after_us()} * kMicrosecond,
                context.now);
    end_try(locks_.lock_of(claim), context.now);
  }
  const wire::Grant grant = grant_of(claim, key_hash);
  slot.token = grant.token;
  slot.value = grant.ticket;
  if (context.now.state != ClockState::kLost) {
    Session& session = sessions_.at(session_index);
    extend_lease(session, context, session.quick_term_us);
  }
}

void Engine::give_back_unused(std::uint32_t session_index, const Request& request,
                              std::uint64_t key_hash, Slot& slot, const RequestContext& context) {
  const std::uint32_t claim = holder_named(session_index, request, key_hash);
  if (claim == kNil || !locks_.claim(claim).in_advance()) {
    slot.status = key_hash == 0 ? Status::kBadRequest : Status::kNotHeld;
    return;
  }
  return_advance(claim, context.now);
}

bool Engine::write_advance(const PushRef& ref, Push& push) const {
  const Advance& advance = advances_[ref.sequence];
  if (advance.claim == kNil || advance.token != ref.token) return false;
  const std::uint32_t lock = locks_.lock_of(advance.claim);
  push.reply = Reply{};
  push.reply.op = ref.notice;
  push.reply.token = advance.token;
  push.reply.lease_end_ns = advance.end_ns;
  push.reply.ticket = grant_of(advance.claim, locks_.hash_of(lock)).ticket;
  std::array<std::uint8_t, wire::kKeyBytesMax> key{};
  const std::uint16_t namespace_id = locks_.namespace_of(lock);
  const std::size_t length = locks_.copy_key(lock, key);
  wire::More& name = push.more[0];
  name = wire::More{};
  name.body[0] = static_cast<std::uint8_t>(namespace_id & 0xFF);
  name.body[1] = static_cast<std::uint8_t>(namespace_id >> 8);
  name.body[2] = static_cast<std::uint8_t>(wire::Mode::kExclusive);
  name.body[3] = static_cast<std::uint8_t>(length);
  std::copy_n(key.begin(), length, name.body.begin() + wire::kGroupKeyHeadBytes);
  push.more_count = 1;
  return true;
}

Nanoseconds Engine::held_before(std::uint32_t session_index, std::uint8_t slot_index,
                                const ClockReading& now) const {
  if (slot_index >= sessions_.at(session_index).slot_count) return 0;
  const Slot& slot = sessions_.slot(session_index, slot_index);
  if (slot.state != SlotState::kWaiting || slot.op == Op::kAcquireGroup) return 0;
  const std::uint32_t holder = locks_.first_holder(locks_.lock_of(slot.claim));
  if (holder == kNil) return 0;
  return Nanoseconds{wrapped_us(now.tai.middle()) - locks_.claim(holder).since_us} * kMicrosecond;
}

bool Engine::next_event(LockEvent& event) {
  if (event_head_ == event_tail_) return false;
  event = events_[event_head_++ & (events_.size() - 1)];
  return true;
}

void Engine::tell(LockEvent::Kind kind, std::uint64_t key_hash, std::uint32_t session,
                  const ClockReading& now, Nanoseconds span_ns, Nanoseconds recall_ns) {
  if (events_.empty()) return;
  if (event_tail_ - event_head_ == events_.size()) {
    gauges_.lock_events_lost.add();
    return;
  }
  LockEvent& event = events_[event_tail_++ & (events_.size() - 1)];
  event.kind = kind;
  event.after_used = after_used_;
  event.session = session;
  event.key_hash = key_hash;
  event.at_ns = now.tai.middle();
  event.span_ns = span_ns;
  event.recall_ns = recall_ns;
}

// The lock is about to be forgotten: its name goes along.
void Engine::tell_freed(std::uint32_t lock, const ClockReading& now) {
  if (events_.empty() || locks_.lock(lock).permits_max != kRwPermits ||
      namespaces_.advance_hit_min(locks_.namespace_of(lock)) <= 0.0 ||
      event_tail_ - event_head_ == events_.size()) {
    return;
  }
  tell(LockEvent::Kind::kFreed, locks_.hash_of(lock), kNil, now);
  LockEvent& event = events_[(event_tail_ - 1) & (events_.size() - 1)];
  event.namespace_id = locks_.namespace_of(lock);
  event.key_length = static_cast<std::uint8_t>(locks_.copy_key(lock, event.key));
}

// Who asks while it is granted in advance is told of once that is known to be used or not: which of
// the two came first is not known before.
void Engine::tell_asked(std::uint64_t key_hash, std::uint32_t lock, std::uint32_t session,
                        const ClockReading& now) {
  if (events_.empty()) return;
  const std::uint32_t claim = advance_on(lock);
  if (claim == kNil) return tell(LockEvent::Kind::kAsked, key_hash, session, now);
  Advance& advance = advance_of(locks_.claim(claim));
  if (locks_.claim(claim).session == session || advance.asker != kNil) return;
  advance.asker = session;
  advance.asked_ns = now.tai.middle();
}

void Engine::tell_granted(const Claim& waiter, std::uint64_t key_hash, const ClockReading& now) {
  if (events_.empty()) return;
  const Nanoseconds now_ns = now.tai.middle();
  const Nanoseconds wait_ns = Nanoseconds{wrapped_us(now_ns) - waiter.since_us} * kMicrosecond;
  const Nanoseconds recall_ns =
      recalled_ns_ == kLongAgo ? 0 : std::clamp<Nanoseconds>(now_ns - recalled_ns_, 0, wait_ns);
  tell(LockEvent::Kind::kGranted, key_hash, waiter.session, now, wait_ns, recall_ns);
}

}  // namespace driftlock
