#include "src/lock/engine.hpp"

#include <xxhash.h>

#include <algorithm>
#include <bit>

namespace driftlock {
namespace {

using wire::Op;
using wire::Reply;
using wire::Request;
using wire::Status;

// Bounds on what one turn does besides serving packets, so that none takes long.
constexpr std::uint32_t kTimersPerTurn = 1024;
constexpr std::uint32_t kClaimsPerTurn = 256;
constexpr std::uint32_t kSweepPerTurn = 1024;
constexpr std::uint32_t kRecentOpens = 4096;
constexpr int kTokenCounterBits = 40;

// Microseconds modulo 2^32, never 0, which stands for "not stated".
std::uint32_t wrapped_us(Nanoseconds instant_ns) {
  const auto us = static_cast<std::uint32_t>(instant_ns / kMicrosecond);
  return us != 0 ? us : 1;
}

bool uses_slot(Op op) {
  return op == Op::kRenew || op == Op::kAcquire || op == Op::kRelease || op == Op::kClose ||
         op == Op::kCancel;
}

bool names_lock(const Request& request) {
  return (request.op == Op::kAcquire || request.op == Op::kRelease || request.op == Op::kQuery) &&
         request.key_length >= 1 && request.key_length <= wire::kKeyBytesMax;
}

LockName name_of(const Request& request) {
  return {request.namespace_id, request.key_bytes()};
}

std::uint32_t digest_of(const Request& request) {
  return static_cast<std::uint32_t>(XXH3_64bits(&request, sizeof(request)));
}

std::size_t recent_open_index(const wire::Bytes16& nonce, std::size_t size) {
  return XXH3_64bits(nonce.data(), nonce.size()) & (size - 1);
}

}  // namespace

Engine::Engine(const EngineOptions& options, const Keyring& keyring,
               std::pmr::memory_resource* memory)
    : options_(options),
      keyring_(keyring),
      sessions_(options.sessions, options.epoch, memory),
      locks_(options.locks, memory),
      session_timers_(options.sessions.sessions_max, memory),
      wait_timers_(options.locks.claims_max, memory),
      wait_deadlines_(options.locks.claims_max, memory),
      pushes_(std::bit_ceil(std::size_t{2} * options.locks.claims_max), memory),
      ending_(options.sessions.sessions_max, memory),
      recent_opens_(kRecentOpens, kNil, memory),
      sweep_cursor_(options.locks.locks_max),
      next_token_((std::uint64_t{options.epoch} << kTokenCounterBits) + 1) {
  DRIFTLOCK_ASSERT(options.epoch > 0 && options.epoch < (1U << 23));
  DRIFTLOCK_ASSERT(options.term_min_ns > 0 && options.term_min_ns <= options.term_default_ns &&
                   options.term_default_ns <= options.term_max_ns);
}

void Engine::advance(const ClockReading& now) {
  session_timers_.advance(now.tai.earliest, kTimersPerTurn, [&](std::uint32_t id) {
    const Session& session = sessions_.at(id);
    if (session.state != SessionState::kActive) return;
    if (session.lease_end_ns < now.tai.earliest) {
      gauges_.sessions_expired.add();
      end_session(id);
    } else {
      session_timers_.schedule(id, session.lease_end_ns);  // renewed since
    }
  });
  wait_timers_.advance(now.tai.earliest, kTimersPerTurn, [&](std::uint32_t id) {
    if (wait_deadlines_[id] < now.tai.earliest) {
      end_wait(id + locks_.locks_max(), Status::kTimeout, now, true);
    } else {
      wait_timers_.schedule(id, wait_deadlines_[id]);
    }
  });
  continue_ending(now);
  resume_stalled(now);
  update_gauges();
}

std::uint64_t Engine::prefetch(std::uint32_t session, const Request& request) const {
  sessions_.prefetch_slot(session, request.slot);
  if (!names_lock(request)) return 0;
  const std::uint64_t hash = locks_.hash(name_of(request));
  locks_.prefetch_bucket(hash);
  return hash;
}

wire::Reply Engine::handle(std::uint32_t session_index, const Request& request,
                           std::uint64_t key_hash, const RequestContext& context) {
  Session& session = sessions_.at(session_index);
  Reply reply;
  reply.op = request.op;
  reply.slot = request.slot;
  reply.sequence = request.sequence;
  reply.mode = request.mode;
  if (request.op == Op::kTime) {
    reply.earliest_ns = context.received.tai.earliest;
    reply.latest_ns = context.received.tai.latest;
    reply.sigma_ns = static_cast<std::uint64_t>(context.received.sigma_ns);
    return reply;
  }
  if (request.op == Op::kQuery) {
    query(request, key_hash, reply);
    return reply;
  }
  if (!uses_slot(request.op) || request.slot >= session.slot_count) {
    reply.status = Status::kBadRequest;
    return reply;
  }
  Slot& slot = sessions_.slot(session_index, request.slot);
  const std::uint32_t digest = digest_of(request);
  if (request.sequence == slot.sequence && slot.state != SlotState::kEmpty) {
    if (slot.state != SlotState::kCancelledAhead && slot.digest != digest) {
      reply.status = Status::kFalseRepeat;
      return reply;
    }
    return answer(session_index, request.slot, slot);
  }
  if (session.state != SessionState::kActive || session.lease_end_ns < context.now.tai.earliest) {
    reply.status = Status::kNoSession;
    return reply;  // a lease that has run out is ended by its timer
  }
  if (request.sequence != slot.sequence + 1 || slot.state == SlotState::kWaiting) {
    const auto ahead = static_cast<std::int32_t>(request.sequence - slot.sequence);
    reply.status = ahead <= 0 ? Status::kStaleSequence : Status::kMisordered;
    return reply;
  }
  slot.digest = digest;
  return act(session_index, request, key_hash, slot, context);
}

wire::Reply Engine::act(std::uint32_t session_index, const Request& request, std::uint64_t key_hash,
                        Slot& slot, const RequestContext& context) {
  Session& session = sessions_.at(session_index);
  session.peer = context.peer;
  if (context.client_time_ns != 0) {
    session.clock_floor.record(context.received.tai.middle(), context.client_time_ns);
  }
  slot.sequence = request.sequence;
  slot.op = request.op;
  slot.mode = request.mode;
  slot.status = Status::kOk;
  slot.state = SlotState::kAnswered;
  slot.token = 0;
  slot.value = 0;
  slot.claim = kNil;
  switch (request.op) {
    case Op::kAcquire:
      acquire(session_index, request, key_hash, slot, context);
      break;
    case Op::kRelease:
      release(session_index, request, key_hash, slot, context);
      break;
    case Op::kRenew:
      renew(session_index, request, slot, context);
      break;
    case Op::kCancel:
      cancel(session_index, request, slot, context);
      break;
    case Op::kClose:
      end_session(session_index);
      break;
    default:
      DRIFTLOCK_ASSERT(false && "uses_slot() let it pass");
  }
  return answer(session_index, request.slot, slot);
}

wire::Reply Engine::answer(std::uint32_t session_index, std::uint8_t slot_index,
                           const Slot& slot) const {
  Reply reply;
  reply.op = slot.op;
  reply.status = slot.status;
  reply.slot = slot_index;
  reply.mode = slot.mode;
  reply.sequence = slot.sequence;
  switch (slot.op) {
    case Op::kAcquire:
      reply.token = slot.token;
      reply.lease_end_ns = slot.value;
      reply.term_ns = sessions_.at(session_index).term_ns;
      if (slot.state == SlotState::kWaiting) {
        reply.status = Status::kQueued;
        reply.waiters = locks_.waiters_before(slot.claim);
      }
      break;
    case Op::kRenew:
      reply.lease_end_ns = slot.value;
      reply.term_ns = sessions_.at(session_index).term_ns;
      break;
    case Op::kRelease:
      reply.clock_residual_ns = static_cast<Nanoseconds>(slot.token);
      reply.behaviour_residual_ns = slot.value;
      break;
    default:
      break;
  }
  return reply;
}

wire::Status Engine::may_grant(const ClockReading& now) const {
  if (now.state == ClockState::kLost) return Status::kClockLost;
  if (now.tai.earliest <= options_.ready_after_tai_ns) return Status::kNotReady;
  return Status::kOk;
}

void Engine::extend_lease(Session& session, const RequestContext& context) {
  // Counted from `latest`, so that a client that counts the term from sending is never later than
  // this.
  session.lease_end_ns =
      std::max(session.lease_end_ns, saturating_add(context.now.tai.latest, session.term_ns));
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

void Engine::acquire(std::uint32_t session_index, const Request& request, std::uint64_t key_hash,
                     Slot& slot, const RequestContext& context) {
  std::uint16_t wanted = 0;
  std::uint16_t size = 0;
  if (key_hash == 0 || !permits_of(request, wanted, size)) {
    slot.status = Status::kBadRequest;
    return;
  }
  slot.status = may_grant(context.now);
  if (slot.status != Status::kOk) return;
  Session& session = sessions_.at(session_index);
  const LockName name = name_of(request);
  std::uint32_t lock = locks_.find(key_hash, name);
  if (lock == kNil) lock = locks_.create(key_hash, name, size);
  if (lock == kNil) {
    slot.status = Status::kFull;
    return;
  }
  const Lock& state = locks_.lock(lock);
  if (state.permits_max != size) {
    slot.status = Status::kModeConflict;
    return;
  }
  const std::uint32_t held =
      size == kRwPermits ? locks_.holder_of(lock, session_index, session.claims_head) : kNil;
  if (held != kNil) {
    Claim& holder = locks_.claim(held);
    if (holder.permits < wanted) {
      slot.status = Status::kModeConflict;  // an upgrade is another operation
    } else if (holder.depth == 0xFF) {
      slot.status = Status::kFull;
    } else {
      ++holder.depth;
      slot.token = holder.token;
    }
  } else if (state.waiters_head == kNil && state.permits_used + wanted <= state.permits_max) {
    const std::uint32_t predicted =
        request.predicted_release_ns != 0 ? wrapped_us(request.predicted_release_ns) : 0;
    const std::uint32_t claim =
        grant(lock, session_index, wanted, predicted, context.now.tai.middle());
    if (claim == kNil) {
      slot.status = Status::kFull;
    } else {
      slot.token = locks_.claim(claim).token;
    }
  } else if (request.argument == 0) {
    slot.status = Status::kBusy;
  } else {
    wait_for(lock, session_index, request, wanted, slot, context);
  }
  if (slot.status == Status::kOk) {
    extend_lease(session, context);
    slot.value = session.lease_end_ns;
  }
  locks_.erase_if_idle(lock);
}

std::uint32_t Engine::grant(std::uint32_t lock, std::uint32_t session_index, std::uint16_t permits,
                            std::uint32_t predicted_release_us, Nanoseconds now_ns) {
  Session& session = sessions_.at(session_index);
  const std::uint32_t claim =
      locks_.add_holder(lock, session_index, session.claims_head, permits, next_token_);
  if (claim == kNil) return kNil;
  ++next_token_;
  ++holders_;
  locks_.claim(claim).predicted_release_us = predicted_release_us;
  locks_.claim(claim).since_us = wrapped_us(now_ns);
  return claim;
}

void Engine::wait_for(std::uint32_t lock, std::uint32_t session_index, const Request& request,
                      std::uint16_t permits, Slot& slot, const RequestContext& context) {
  const std::uint32_t claim =
      locks_.add_waiter(lock, session_index, sessions_.at(session_index).claims_head, permits);
  if (claim == kNil) {
    slot.status = Status::kFull;
    return;
  }
  Claim& waiter = locks_.claim(claim);
  waiter.slot = request.slot;
  waiter.since_us = wrapped_us(context.now.tai.middle());
  waiter.predicted_release_us =
      request.predicted_release_ns != 0 ? wrapped_us(request.predicted_release_ns) : 0;
  slot.state = SlotState::kWaiting;
  slot.claim = claim;
  ++waiters_;
  const Nanoseconds wait_ns = request.argument > static_cast<std::uint64_t>(kNever)
                                  ? kNever
                                  : static_cast<Nanoseconds>(request.argument);
  const std::uint32_t timer = claim - locks_.locks_max();
  wait_deadlines_[timer] = saturating_add(context.now.tai.latest, wait_ns);
  wait_timers_.schedule(timer, wait_deadlines_[timer]);
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
      lock == kNil ? kNil
                   : locks_.holder_of(lock, session_index, session.claims_head, request.argument);
  if (claim == kNil) {
    const bool under_another_token =
        lock != kNil && locks_.holder_of(lock, session_index, session.claims_head) != kNil;
    slot.status = under_another_token ? Status::kStaleToken : Status::kNotHeld;
    return;
  }
  Claim& holder = locks_.claim(claim);
  const Nanoseconds offset_ns = session.clock_floor.offset_ns();
  if (offset_ns != kNever) slot.token = static_cast<std::uint64_t>(-offset_ns);
  if (holder.predicted_release_us != 0 && request.predicted_release_ns != 0) {
    const auto late_us = static_cast<std::int32_t>(wrapped_us(request.predicted_release_ns) -
                                                   holder.predicted_release_us);
    slot.value = Nanoseconds{late_us} * kMicrosecond;
  }
  if (holder.depth > 1) {
    --holder.depth;
  } else {
    give_back(claim, context.now);
  }
}

void Engine::renew(std::uint32_t session_index, const Request& request, Slot& slot,
                   const RequestContext& context) {
  if (context.now.state == ClockState::kLost) {
    slot.status = Status::kClockLost;  // a lease end that cannot be judged must not be promised
    return;
  }
  Session& session = sessions_.at(session_index);
  if (request.argument != 0) {
    const auto wanted_ns = static_cast<Nanoseconds>(
        std::min(request.argument, static_cast<std::uint64_t>(options_.term_max_ns)));
    session.term_ns = std::max(wanted_ns, options_.term_min_ns);
  }
  extend_lease(session, context);
  slot.value = session.lease_end_ns;
}

void Engine::cancel(std::uint32_t session_index, const Request& request, Slot& slot,
                    const RequestContext& context) {
  Session& session = sessions_.at(session_index);
  const auto sequence = static_cast<std::uint32_t>(request.argument);
  if (request.other_slot >= session.slot_count || request.other_slot == request.slot) {
    slot.status = Status::kBadRequest;
    return;
  }
  Slot& other = sessions_.slot(session_index, request.other_slot);
  if (sequence == other.sequence + 1 && other.state != SlotState::kWaiting) {
    // The acquire has not arrived, and may never: it will find its answer waiting.
    other = Slot{};
    other.sequence = sequence;
    other.op = Op::kAcquire;
    other.status = Status::kCancelled;
    other.state = SlotState::kCancelledAhead;
    return;
  }
  if (sequence != other.sequence || other.op != Op::kAcquire) {
    slot.status = Status::kStaleSequence;
    return;
  }
  if (other.state == SlotState::kWaiting) {
    end_wait(other.claim, Status::kCancelled, context.now, false);
    return;
  }
  if (other.state == SlotState::kAnswered && other.status == Status::kOk) {
    // Granted before the cancel came: what was granted is given back.
    for (std::uint32_t i = session.claims_head; i != kNil; i = locks_.claim(i).session_next) {
      Claim& holder = locks_.claim(i);
      if (!holder.holds() || holder.token != other.token) continue;
      if (holder.depth > 1) {
        --holder.depth;
      } else {
        give_back(i, context.now);
      }
      break;
    }
    other.status = Status::kCancelled;
    other.token = 0;
  }
}

void Engine::query(const Request& request, std::uint64_t key_hash, Reply& reply) const {
  if (key_hash == 0) {
    reply.status = Status::kBadRequest;
    return;
  }
  const std::uint32_t lock = locks_.find(key_hash, name_of(request));
  if (lock == kNil) return;                        // free: no holders, no waiters
  constexpr std::uint32_t kHoldersCounted = 1024;  // a reader crowd must not make a query slow
  for (std::uint32_t i = locks_.first_holder(lock); i != kNil && reply.holders < kHoldersCounted;
       i = locks_.next_holder(i)) {
    const Claim& holder = locks_.claim(i);
    const Session& session = sessions_.at(holder.session);
    ++reply.holders;
    reply.lease_end_ns = std::max<std::int64_t>(reply.lease_end_ns, session.lease_end_ns);
    reply.token = std::max<std::uint64_t>(reply.token, holder.token);
    reply.mode = locks_.lock(lock).permits_max != kRwPermits ? wire::Mode::kSemaphore
                 : holder.permits == kRwPermits              ? wire::Mode::kExclusive
                                                             : wire::Mode::kShared;
  }
  reply.waiters = locks_.waiters(lock);
}

void Engine::give_back(std::uint32_t claim, const ClockReading& now) {
  const std::uint32_t lock = locks_.claim(claim).lock;
  locks_.remove_claim(claim, sessions_.at(locks_.claim(claim).session).claims_head);
  --holders_;
  serve_waiters(lock, now);
  locks_.erase_if_idle(lock);
}

void Engine::serve_waiters(std::uint32_t lock, const ClockReading& now) {
  while (locks_.lock(lock).waiters_head != kNil) {
    const std::uint32_t head = locks_.lock(lock).waiters_head;
    const Claim waiter = locks_.claim(head);
    Session& session = sessions_.at(waiter.session);
    // A dead session's waits are ended by continue_ending(); until then nobody may wait for them.
    const Lock& state = locks_.lock(lock);
    const bool active = session.state == SessionState::kActive;
    if (active && state.permits_used + waiter.permits > state.permits_max) return;
    if (active && may_grant(now) != Status::kOk) {
      stalled_ = true;
      return;
    }
    Slot& slot = sessions_.slot(waiter.session, waiter.slot);
    wait_timers_.cancel(head - locks_.locks_max());
    locks_.remove_claim(head, session.claims_head);
    --waiters_;
    slot.state = SlotState::kAnswered;
    slot.claim = kNil;
    slot.status = Status::kSessionEnded;
    if (active) {
      const std::uint32_t claim = grant(lock, waiter.session, waiter.permits,
                                        waiter.predicted_release_us, now.tai.middle());
      DRIFTLOCK_ASSERT(claim != kNil);  // the waiter's own claim was freed just now
      slot.status = Status::kOk;
      slot.token = locks_.claim(claim).token;
      slot.value = session.lease_end_ns;
      gauges_.grants_pushed.add();
    }
    queue_push(waiter.session, waiter.slot);
  }
}

void Engine::end_wait(std::uint32_t claim, Status status, const ClockReading& now, bool push) {
  const Claim waiter = locks_.claim(claim);
  Slot& slot = sessions_.slot(waiter.session, waiter.slot);
  slot.state = SlotState::kAnswered;
  slot.status = status;
  slot.claim = kNil;
  wait_timers_.cancel(claim - locks_.locks_max());
  locks_.remove_claim(claim, sessions_.at(waiter.session).claims_head);
  --waiters_;
  if (push) queue_push(waiter.session, waiter.slot);
  serve_waiters(waiter.lock, now);  // those behind may fit now
  locks_.erase_if_idle(waiter.lock);
}

void Engine::end_session(std::uint32_t session_index) {
  Session& session = sessions_.at(session_index);
  DRIFTLOCK_ASSERT(session.state == SessionState::kActive);
  session.state = SessionState::kEnding;
  sessions_.ended();
  session_timers_.cancel(session_index);
  ending_[ending_count_++] = session_index;
}

void Engine::continue_ending(const ClockReading& now) {
  std::uint32_t budget = kClaimsPerTurn;
  while (ending_count_ > 0) {
    const std::uint32_t session_index = ending_[ending_count_ - 1];
    const Session& session = sessions_.at(session_index);
    while (session.claims_head != kNil) {
      if (budget-- == 0) return;
      const std::uint32_t claim = session.claims_head;
      if (locks_.claim(claim).holds()) {
        give_back(claim, now);
      } else {
        end_wait(claim, Status::kSessionEnded, now, true);
      }
    }
    --ending_count_;
    sessions_.linger(session_index);
  }
}

void Engine::resume_stalled(const ClockReading& now) {
  if (stalled_ && may_grant(now) == Status::kOk) {
    stalled_ = false;
    sweep_cursor_ = 0;
  }
  if (sweep_cursor_ >= locks_.locks_max()) return;
  sweep_cursor_ = visit_locks(sweep_cursor_, kSweepPerTurn, [&](std::uint32_t lock) {
    serve_waiters(lock, now);
    locks_.erase_if_idle(lock);
  });
}

void Engine::queue_push(std::uint32_t session, std::uint8_t slot) {
  if (push_tail_ - push_head_ == pushes_.size()) return;  // the waiter learns it when it repeats
  pushes_[push_tail_++ & (pushes_.size() - 1)] = {session, sessions_.slot(session, slot).sequence,
                                                  slot};
}

bool Engine::next_push(Push& push) {
  while (push_head_ != push_tail_) {
    const PushRef ref = pushes_[push_head_++ & (pushes_.size() - 1)];
    const Slot& slot = sessions_.slot(ref.session, ref.slot);
    if (slot.sequence != ref.sequence || slot.state != SlotState::kAnswered) continue;
    push.session = ref.session;
    push.reply = answer(ref.session, ref.slot, slot);
    return true;
  }
  return false;
}

wire::OpenReply Engine::open(std::uint64_t client_id, const SecretKey& client_key,
                             const wire::OpenRequest& request, const RequestContext& context) {
  wire::OpenReply reply;
  if (context.now.state == ClockState::kLost) {
    reply.status = Status::kClockLost;
    return reply;
  }
  const Nanoseconds now_ns = context.now.tai.middle();
  const wire::Bytes16 cookie = cookie_for(client_id, request.client_nonce, context.peer, now_ns, 0);
  if (!equal_mac(request.cookie, cookie) &&
      !equal_mac(request.cookie,
                 cookie_for(client_id, request.client_nonce, context.peer, now_ns, 1))) {
    reply.status = Status::kCookie;
    reply.cookie = cookie;
    return reply;
  }
  std::uint32_t index = find_repeated_open(client_id, request.client_nonce);
  if (index == kNil) {
    index = sessions_.allocate();
    if (index == kNil) {
      reply.status = Status::kFull;
      return reply;
    }
    Session& session = sessions_.at(index);
    session.client_id = client_id;
    session.client_nonce = request.client_nonce;
    session.slot_count = static_cast<std::uint8_t>(
        std::clamp<std::uint32_t>(request.slots, 1, sessions_.slots_per_session()));
    session.term_ns = request.term_ns == 0 ? options_.term_default_ns
                                           : std::clamp(Nanoseconds{request.term_ns},
                                                        options_.term_min_ns, options_.term_max_ns);
    session.peer = context.peer;
    session.key =
        derive_session_key(client_key, request.client_nonce, node_nonce(session), session.id);
    extend_lease(session, context);
    session_timers_.schedule(index, session.lease_end_ns);
    recent_opens_[recent_open_index(request.client_nonce, recent_opens_.size())] = index;
  }
  const Session& session = sessions_.at(index);
  reply.slots = session.slot_count;
  reply.session_id = session.id;
  reply.node_nonce = node_nonce(session);
  reply.term_ns = session.term_ns;
  reply.lease_end_ns = session.lease_end_ns;
  return reply;
}

wire::Bytes16 Engine::cookie_for(std::uint64_t client_id, const wire::Bytes16& nonce,
                                 const Endpoint& peer, Nanoseconds now_ns, int age) const {
  constexpr int kCookieShift = 34;  // a cookie is good for 17 to 34 seconds
  struct [[gnu::packed]] {
    std::uint8_t label = 'C';
    std::uint64_t client_id = 0;
    wire::Bytes16 nonce{};
    std::uint32_t ipv4 = 0;
    std::uint16_t udp_port = 0;
    std::int64_t period = 0;
  } message;
  message.client_id = client_id;
  message.nonce = nonce;
  message.ipv4 = peer.ipv4;
  message.udp_port = peer.udp_port;
  message.period = (now_ns >> kCookieShift) - age;
  return compute_mac(options_.node_secret,
                     {reinterpret_cast<const std::uint8_t*>(&message), sizeof(message)});
}

wire::Bytes16 Engine::node_nonce(const Session& session) const {
  struct [[gnu::packed]] {
    std::uint8_t label = 'N';
    std::uint64_t session_id = 0;
    wire::Bytes16 client_nonce{};
  } message;
  message.session_id = session.id;
  message.client_nonce = session.client_nonce;
  return compute_mac(options_.node_secret,
                     {reinterpret_cast<const std::uint8_t*>(&message), sizeof(message)});
}

std::uint32_t Engine::find_repeated_open(std::uint64_t client_id,
                                         const wire::Bytes16& nonce) const {
  const std::uint32_t index = recent_opens_[recent_open_index(nonce, recent_opens_.size())];
  if (index == kNil) return kNil;
  const Session& session = sessions_.at(index);
  const bool same = session.state == SessionState::kActive && session.client_id == client_id &&
                    session.client_nonce == nonce;
  return same ? index : kNil;
}

void Engine::update_gauges() {
  gauges_.sessions_active.set(sessions_.active());
  gauges_.locks_in_use.set(locks_.locks_in_use());
  gauges_.waiters.set(waiters_);
  gauges_.holders.set(holders_);
}

}  // namespace driftlock
