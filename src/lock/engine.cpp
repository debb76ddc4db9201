#include "src/lock/engine.hpp"

#define XXH_INLINE_ALL  // records of a known size: the call would cost more than the hash
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "src/lock/engine_internal.hpp"

namespace driftlock {
namespace {

using engine_internal::kTokenCounterBits;
using engine_internal::name_of;
using wire::Op;
using wire::Reply;
using wire::Request;
using wire::Status;

// A bound on what one turn does besides serving packets, so that none takes long.
constexpr std::uint32_t kTimersPerTurn = 1024;
constexpr std::uint32_t kRecentOpens = 4096;

bool uses_slot(Op op) {
  return op == Op::kRenew || op == Op::kAcquire || op == Op::kRelease || op == Op::kClose ||
         op == Op::kCancel || op == Op::kConvert || op == Op::kReclaim || op == Op::kAdvance ||
         op == Op::kRecall || op == Op::kProbeReport;
}

bool names_lock(const Request& request) {
  const Op op = request.op;
  const bool named = op == Op::kAcquire || op == Op::kRelease || op == Op::kQuery ||
                     op == Op::kConvert || op == Op::kReclaim || op == Op::kAdvance ||
                     op == Op::kRecall;
  return named && request.key_length >= 1 && request.key_length <= wire::kKeyBytesMax;
}

std::uint32_t digest_of(const void* bytes, std::size_t size) {
  return static_cast<std::uint32_t>(XXH3_64bits(bytes, size));
}

// Not `reply = Reply{}`, which would be built elsewhere, field by field, and then copied in.
void clear(Reply& reply) {
  std::memset(static_cast<void*>(&reply), 0, sizeof(reply));
  reply.slot = wire::kNoSlot;
}

void begin_reply(const Request& request, Reply& reply) {
  clear(reply);
  reply.op = request.op;
  reply.slot = request.slot;
  reply.sequence = request.sequence;
  reply.mode = request.mode;
}

}  // namespace

Engine::Engine(const EngineOptions& options, const Keyring& keyring,
               std::pmr::memory_resource* memory)
    : options_(options),
      keyring_(keyring),
      sessions_(options.sessions, options.epoch, memory),
      terms_(options.sessions.sessions_max, memory),
      locks_(options.locks, options.sessions.sessions_max, memory),
      namespaces_(options.namespaces, options.sessions.sessions_max, memory),
      session_timers_(options.sessions.sessions_max, memory),
      wait_timers_(options.locks.claims_max, memory),
      wait_deadlines_(options.locks.claims_max, memory),
      groups_(options.groups_max, memory),
      pushes_(std::bit_ceil(std::size_t{2} * options.locks.claims_max), memory),
      ending_(options.sessions.sessions_max, memory),
      recent_opens_(kRecentOpens, kNil, memory),
      client_sessions_(keyring.clients().size(), memory),
      advances_(options.advances_max, memory),
      advance_timers_(options.advances_max, memory),
      takes_advances_(options.sessions.sessions_max, memory),
      events_(options.lock_events_max == 0 ? 0 : std::bit_ceil(options.lock_events_max), memory),
      sweep_cursor_(options.locks.locks_max),
      next_token_((std::uint64_t{options.epoch} << kTokenCounterBits) + 1) {
  DRIFTLOCK_ASSERT(options.epoch > 0 && options.epoch < (1U << 23));
  DRIFTLOCK_ASSERT(options.term_min_ns > 0 && options.term_min_ns <= options.term_default_ns &&
                   options.term_default_ns <= options.term_max_ns);
  for (std::uint32_t i = options.groups_max; i-- > 0;) {
    groups_[i].next_free = free_group_;
    free_group_ = i;
  }
  for (std::uint32_t i = options.advances_max; i-- > 0;) {
    advances_[i].next_free = free_advance_;
    free_advance_ = i;
  }
}

void Engine::advance(const ClockReading& now) {
  session_timers_.advance(now.tai.earliest, kTimersPerTurn,
                          [&](std::uint32_t id) { lease_passed(id, now); });
  wait_timers_.advance(now.tai.earliest, kTimersPerTurn, [&](std::uint32_t id) {
    if (wait_deadlines_[id] < now.tai.earliest) {
      end_wait(id + locks_.locks_max(), Status::kTimeout, now, true);
    } else {
      wait_timers_.schedule(id, wait_deadlines_[id]);
    }
  });
  advance_timers_.advance(now.tai.earliest, kTimersPerTurn,
                          [&](std::uint32_t id) { advance_passed(id, now); });
  continue_ending(now);
  resume_stalled(now);
  update_gauges(now);
}

std::uint64_t Engine::prefetch(std::uint32_t session, const Request& request) const {
  sessions_.prefetch_slot(session, request.slot);
  if (!names_lock(request)) return 0;
  const std::uint64_t hash = locks_.hash(name_of(request));
  locks_.prefetch_index(hash, sessions_.at(session).claims);
  return hash;
}

void Engine::handle(std::uint32_t session_index, const Request& request, std::uint64_t key_hash,
                    const RequestContext& context, Reply& reply) {
  begin_reply(request, reply);
  if (request.op == Op::kTime) {
    reply.earliest_ns = context.received.tai.earliest;
    reply.latest_ns = context.received.tai.latest;
    reply.sigma_ns = static_cast<std::uint64_t>(context.received.sigma_ns);
    reply.holders = static_cast<std::uint32_t>(options_.time_source);
    return;
  }
  if (request.op == Op::kQuery) {
    query(request, key_hash, reply);
    return;
  }
  if (!uses_slot(request.op)) {
    reply.status = Status::kBadRequest;
    return;
  }
  const std::uint32_t digest = digest_of(&request, sizeof(request));
  if (!admit(session_index, request, digest, context, reply)) return;
  Slot& slot = sessions_.slot(session_index, request.slot);
  slot.digest = digest;
  begin(session_index, request, slot, context);
  switch (request.op) {
    case Op::kAcquire:
      acquire(session_index, request, key_hash, slot, context);
      break;
    case Op::kRelease:
      release(session_index, request, key_hash, slot, context);
      break;
    case Op::kConvert:
      convert(session_index, request, key_hash, slot, context);
      break;
    case Op::kReclaim:
      reclaim(session_index, request, key_hash, slot, context);
      break;
    case Op::kRenew:
      renew(session_index, request, slot, context);
      break;
    case Op::kCancel:
      cancel(session_index, request, slot, context);
      break;
    case Op::kAdvance:
      keep(session_index, request, key_hash, slot, context);
      break;
    case Op::kRecall:
      give_back_unused(session_index, request, key_hash, slot, context);
      break;
    case Op::kProbeReport:
      slot.status =
          accept_report(session_index, std::bit_cast<wire::ProbeReport>(request), context);
      break;
    case Op::kClose:
      end_session(session_index, context.now);
      break;
    default:
      DRIFTLOCK_ASSERT(false && "uses_slot() let it pass");
  }
  answer(session_index, request.slot, slot, reply);
}

void Engine::handle_group(std::uint32_t session_index, const Request& request,
                          std::span<wire::More> more, const RequestContext& context, Reply& reply) {
  std::array<std::uint8_t, wire::kOpsMax * sizeof(wire::More::body)> names;
  std::size_t names_bytes = 0;
  for (const wire::More& record : more) {
    std::copy(record.body.begin(), record.body.end(), names.begin() + names_bytes);
    names_bytes += record.body.size();
  }
  for (wire::More& record : more) record = wire::More{};
  begin_reply(request, reply);
  const std::uint32_t digest =
      digest_of(&request, sizeof(request)) ^ digest_of(names.data(), names_bytes);
  if (admit(session_index, request, digest, context, reply)) {
    Slot& slot = sessions_.slot(session_index, request.slot);
    slot.digest = digest;
    begin(session_index, request, slot, context);
    GroupMembers members;
    const bool fits = more.size() >= wire::more_records(request.permits);
    if (fits && parse_group(request, {names.data(), names_bytes}, members)) {
      acquire_group(session_index, request, {members.data(), request.permits}, slot, context);
    } else {
      slot.status = Status::kBadRequest;
    }
    answer(session_index, request.slot, slot, reply);
  }
  if (reply.status == Status::kOk) {
    write_grants(sessions_.slot(session_index, request.slot), more);
  }
}

bool Engine::admit(std::uint32_t session_index, const Request& request, std::uint32_t digest,
                   const RequestContext& context, Reply& reply) {
  const Session& session = sessions_.at(session_index);
  if (request.slot >= session.slot_count) {
    reply.status = Status::kBadRequest;
    return false;
  }
  const Slot& slot = sessions_.slot(session_index, request.slot);
  if (request.sequence == slot.sequence && slot.state != SlotState::kEmpty) {
    if (slot.state == SlotState::kCancelledAhead) {
      reply.status = Status::kCancelled;
    } else if (slot.digest != digest) {
      reply.status = Status::kFalseRepeat;
    } else {
      answer(session_index, request.slot, slot, reply);
    }
    return false;
  }
  // A lease that has run out is ended by its timer; nothing may come in between.
  if (session.state != SessionState::kActive || session.lease_end_ns < context.now.tai.earliest) {
    reply.status = Status::kNoSession;
    return false;
  }
  if (request.sequence != slot.sequence + 1 || slot.state == SlotState::kWaiting) {
    const auto ahead = static_cast<std::int32_t>(request.sequence - slot.sequence);
    reply.status = ahead <= 0 ? Status::kStaleSequence : Status::kMisordered;
    return false;
  }
  return true;
}

void Engine::begin(std::uint32_t session_index, const Request& request, Slot& slot,
                   const RequestContext& context) {
  Session& session = sessions_.at(session_index);
  session.peer = context.peer;
  if (context.client_time_ns != 0 && context.received.state != ClockState::kLost) {
    // The estimate is the most certain that the node has, the cluster's where that is better; the
    // middle of the bound moves with whatever the bound is widened by.
    const ClockReading& at = context.received;
    session.clock_floor.record(at.tai.contains(at.estimate_ns) ? at.estimate_ns : at.tai.middle(),
                               context.client_time_ns);
  }
  if (slot.op == Op::kAcquireGroup && slot.claim != kNil) free_group(slot.claim);
  slot.sequence = request.sequence;
  slot.op = request.op;
  slot.mode = request.mode;
  slot.status = Status::kOk;
  slot.state = SlotState::kAnswered;
  slot.token = 0;
  slot.value = 0;
  slot.claim = kNil;
}

void Engine::answer(std::uint32_t session_index, std::uint8_t slot_index, const Slot& slot,
                    Reply& reply) const {
  clear(reply);
  reply.op = slot.op;
  reply.status = slot.status;
  reply.slot = slot_index;
  reply.mode = slot.mode;
  reply.sequence = slot.sequence;
  switch (slot.op) {
    case Op::kAcquire:
    case Op::kAcquireGroup:
    case Op::kConvert:
    case Op::kReclaim:
    case Op::kRenew:
    case Op::kAdvance:
      reply.term_ns = sessions_.at(session_index).term_ns();
      if (slot.state == SlotState::kWaiting) {
        reply.status = Status::kQueued;
        if (slot.op != Op::kAcquireGroup) reply.waiters = locks_.waiters_before(slot.claim);
      } else if (slot.status == Status::kOk) {
        reply.token = slot.token;
        reply.ticket = slot.value;
        reply.lease_end_ns = sessions_.at(session_index).lease_end_ns;
      }
      break;
    case Op::kRelease:
      reply.clock_residual_ns = static_cast<Nanoseconds>(slot.token);
      reply.behaviour_residual_ns = static_cast<Nanoseconds>(slot.value);
      break;
    default:
      break;
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
    if (holder.in_advance()) continue;  // nobody that is known to use it
    const Session& session = sessions_.at(holder.session);
    ++reply.holders;
    // Fields of packed records are copied: no reference may be bound to them.
    reply.lease_end_ns = std::max(std::int64_t{reply.lease_end_ns}, session.lease_end_ns);
    reply.token = std::max(std::uint64_t{reply.token}, std::uint64_t{holder.token});
    reply.mode = locks_.lock(lock).permits_max != kRwPermits ? wire::Mode::kSemaphore
                 : holder.permits == kRwPermits              ? wire::Mode::kExclusive
                                                             : wire::Mode::kShared;
  }
  reply.waiters = locks_.waiters(lock);
}

void Engine::queue_push(const PushRef& ref) {
  if (push_tail_ - push_head_ == pushes_.size()) return;
  pushes_[push_tail_++ & (pushes_.size() - 1)] = ref;
}

bool Engine::next_push(Push& push) {
  while (push_head_ != push_tail_) {
    const PushRef ref = pushes_[push_head_++ & (pushes_.size() - 1)];
    push.session = ref.session;
    push.more_count = 0;
    push.traffic_class = ref.traffic_class;
    const Session& session = sessions_.at(ref.session);
    if (session.state == SessionState::kFree) continue;
    if (ref.notice == Op::kAskRenewal) {
      if (session.state != SessionState::kActive) continue;
      push.reply = Reply{};
      push.reply.op = Op::kAskRenewal;
      push.reply.lease_end_ns = session.lease_end_ns;
      push.reply.term_ns = session.term_ns();
      return true;
    }
    if (ref.notice != Op::kNone) {
      if (!write_advance(ref, push)) continue;
      return true;
    }
    if (ref.slot == wire::kNoSlot) {
      push.reply = Reply{};
      push.reply.status = Status::kRevoked;
      push.reply.token = ref.token;
      return true;
    }
    const Slot& slot = sessions_.slot(ref.session, ref.slot);
    // Asked again and answered meanwhile, or another session's by now.
    if (slot.sequence != ref.sequence || slot.state != SlotState::kAnswered) continue;
    answer(ref.session, ref.slot, slot, push.reply);
    if (slot.op == Op::kAcquireGroup && slot.status == Status::kOk) {
      push.more.fill(wire::More{});
      push.more_count = write_grants(slot, push.more);
    }
    return true;
  }
  return false;
}

void Engine::update_gauges(const ClockReading& now) {
  gauges_.sessions_active.set(sessions_.active());
  gauges_.locks_in_use.set(locks_.locks_in_use());
  gauges_.waiters.set(waiters_);
  gauges_.holders.set(holders_);
  gauges_.ready.set(now.tai.earliest > options_.ready_after_tai_ns ? 1 : 0);
}

}  // namespace driftlock
