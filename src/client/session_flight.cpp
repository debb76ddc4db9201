// SessionCore: operations on their way. Each waits for a slot, is sent, repeated with backoff until
// it is answered, and leaves the slot to the next. Slot 0 is kept from acquires, which may occupy a
// slot for as long as they wait, so that a renewal or a release never waits behind them.
#include <algorithm>
#include <bit>

#include "src/client/session_core.hpp"

namespace driftlock::client {
namespace {

constexpr std::size_t kNoFreeSlot = wire::kSlotsMax;
constexpr double kSpread = 0.25;

wire::Reply synthetic_reply(const wire::Request& record, wire::Status status) {
  wire::Reply reply;
  reply.op = record.op;
  reply.status = status;
  reply.mode = record.mode;
  return reply;
}

bool is_unnumbered(wire::Op op) {
  return op == wire::Op::kQuery || op == wire::Op::kTime;
}

// May be answered kQueued, and then occupies its slot for as long as it waits.
bool may_wait(wire::Op op) {
  return op == wire::Op::kAcquire || op == wire::Op::kAcquireGroup || op == wire::Op::kConvert;
}

}  // namespace

std::vector<SessionCore::Flight*> SessionCore::flights() {
  std::vector<Flight*> all;
  for (Slot& slot : slots_) all.push_back(&slot.flight);
  for (Flight& flight : unnumbered_) all.push_back(&flight);
  return all;
}

SessionCore::Flight* SessionCore::find(OperationId id) {
  for (Flight* flight : flights()) {
    if (flight->id == id) return flight;
  }
  return nullptr;
}

Nanoseconds SessionCore::retry_ns(std::uint32_t tries) {
  Nanoseconds base = options_.retry_first_ns;
  if (node_clock_.measured()) {
    base = std::clamp(node_clock_.round_trip_ns() + 4 * node_clock_.deviation_ns(),
                      options_.retry_min_ns, options_.retry_max_ns);
  }
  base = std::min(base << std::min(tries, 16U), options_.retry_max_ns);
  return nonces_.jittered(base, kSpread);
}

void SessionCore::plan_renewal(const LocalTime& now) {
  if (phase_ != Phase::kOpen || renewing_ || now.local_ns < renew_at_ns_) return;
  renewing_ = true;
  Waiting renewal;
  renewal.id = ++last_id_;
  renewal.operation.op = wire::Op::kRenew;
  renewal.submitted_ns = now.local_ns;
  renewal.own = true;
  waiting_.push_front(renewal);
}

// The node wonders whether this client lives, or gives it another term. A renewal that is under way
// is repeated: it may be lost. Asked twice within a round trip, once is enough.
void SessionCore::renew_at_once(const LocalTime& now) {
  if (phase_ != Phase::kOpen) return;
  ++counters_.renewals_asked;
  if (!renewing_) {
    renew_at_ns_ = now.local_ns;
    return plan_renewal(now);
  }
  Flight& flight = slots_[0].flight;
  const bool sent_lately = now.local_ns - flight.last_sent_ns < options_.retry_min_ns;
  if (flight.id != 0 && flight.record.op == wire::Op::kRenew && !sent_lately) {
    flight.next_send_ns = now.local_ns;
  }
}

void SessionCore::fill_slots(const LocalTime& now) {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    it = assign(*it, now) ? waiting_.erase(it) : std::next(it);
  }
}

// A release goes before the next acquire of its lock, or that would find its own session there; a
// conversion before all else, since it changes what the session has, and perhaps the token.
bool SessionCore::must_wait_for_another(const Operation& operation) const {
  const bool acquires = operation.op == wire::Op::kAcquire;
  const bool names_token = operation.op == wire::Op::kRelease || operation.op == wire::Op::kConvert;
  if (!acquires && !names_token) return false;
  return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
    const wire::Request& record = slot.flight.record;
    const bool first =
        record.op == wire::Op::kConvert || (acquires && record.op == wire::Op::kRelease);
    return slot.flight.id != 0 && first && record.namespace_id == operation.name.namespace_id &&
           record.key == operation.name.bytes;
  });
}

std::size_t SessionCore::free_slot(const Waiting& waiting) const {
  const wire::Op op = waiting.operation.op;
  // What is held comes before what is wanted.
  if (op != wire::Op::kReclaim && op != wire::Op::kRenew && reclaiming_ > 0) return kNoFreeSlot;
  const auto free = [this](std::size_t i) { return slots_[i].flight.id == 0; };
  if (op == wire::Op::kRenew) return free(0) ? 0 : kNoFreeSlot;
  if (must_wait_for_another(waiting.operation)) return kNoFreeSlot;
  for (std::size_t i = 1; i < slots_.size(); ++i) {
    if (free(i)) return i;
  }
  return !may_wait(op) && !renewing_ && free(0) ? 0 : kNoFreeSlot;
}

// False where there is nothing to send: the acquire that a cancel names has ended meanwhile.
bool SessionCore::fill_record(const Waiting& waiting, wire::Request& record) const {
  const Operation& operation = waiting.operation;
  if (waiting.ready) {
    record = *waiting.ready;
    return true;
  }
  if (operation.op == wire::Op::kProbeReport) {
    record = std::bit_cast<wire::Request>(operation.report);
    return true;
  }
  record.op = operation.op;
  record.mode = operation.mode;
  record.namespace_id = operation.name.namespace_id;
  record.key_length = operation.name.length;
  record.key = operation.name.bytes;
  record.permits = operation.permits;
  record.permits_max = operation.permits_max;
  if (operation.op == wire::Op::kAcquire || operation.op == wire::Op::kAcquireGroup) {
    record.argument = static_cast<std::uint64_t>(operation.wait_ns);
    if (operation.take_over) record.flags = wire::kTakeOver;
  } else if (operation.op == wire::Op::kConvert) {
    record.argument = newest_name(operation.token);
    record.predicted_release_ns = operation.wait_ns;
  } else if (operation.op == wire::Op::kRelease) {
    record.argument = newest_name(operation.token);
  } else if (operation.op == wire::Op::kCancel) {
    const auto target = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& slot) {
      return slot.flight.id == waiting.cancels;
    });
    if (target == slots_.end()) return false;
    const wire::Request& given_up = target->flight.record;
    record.other_slot = static_cast<std::uint8_t>(target - slots_.begin());
    record.argument = given_up.sequence;
  }
  return true;
}

bool SessionCore::assign(const Waiting& waiting, const LocalTime& now) {
  const Operation& operation = waiting.operation;
  Flight flight;
  flight.id = waiting.id;
  flight.own = waiting.own;
  flight.cancels = waiting.cancels;
  flight.submitted_ns = waiting.submitted_ns;
  flight.next_send_ns = now.local_ns;
  flight.wait_ns = operation.wait_ns;
  flight.hold_ns = operation.hold_ns;
  const Nanoseconds patience =
      operation.op == wire::Op::kClose ? kClosePatienceNs : operation.patience_ns;
  if (!waiting.own || operation.op == wire::Op::kClose) {
    flight.give_up_ns =
        saturating_add(waiting.submitted_ns, saturating_add(operation.wait_ns, patience));
  }
  if (!fill_record(waiting, flight.record)) return true;
  if (operation.op == wire::Op::kAcquireGroup && !fill_group(operation, flight)) {
    finish(flight, Verdict::kAnswered, synthetic_reply(flight.record, wire::Status::kBadRequest),
           now);
    return true;
  }
  if (release_here(operation)) {
    finish(flight, Verdict::kAnswered, synthetic_reply(flight.record, wire::Status::kOk), now);
    return true;
  }
  if (is_unnumbered(operation.op)) {
    const auto place = std::find_if(unnumbered_.begin(), unnumbered_.end(),
                                    [](const Flight& each) { return each.id == 0; });
    if (place != unnumbered_.end()) {
      *place = flight;
    } else if (unnumbered_.size() < kUnnumberedMax) {
      unnumbered_.push_back(flight);
    } else {
      return false;
    }
    return true;
  }
  const std::size_t index = free_slot(waiting);
  if (index == kNoFreeSlot) return false;
  Slot& slot = slots_[index];
  flight.record.slot = static_cast<std::uint8_t>(index);
  flight.record.sequence = ++slot.sequence;
  slot.flight = flight;
  return true;
}

// What depends on the time of sending is written once: a repeat is the same record.
void SessionCore::mark_sent(Flight& flight, const LocalTime& now) {
  if (flight.tries == 0) {
    flight.first_sent_ns = now.local_ns;
    if (flight.record.op == wire::Op::kAcquire || flight.record.op == wire::Op::kAcquireGroup) {
      const Nanoseconds hold = flight.hold_ns > 0 ? flight.hold_ns : predicted_hold(flight.record);
      if (hold > 0) flight.record.predicted_release_ns = now.tai_ns + hold;
    } else if (flight.record.op == wire::Op::kRelease) {
      flight.record.predicted_release_ns = now.tai_ns;
      note_release_sent(flight.record, now);
    }
  } else {
    ++counters_.repeated;
  }
  flight.last_sent_ns = now.local_ns;
  if (flight.queued) {
    settle_queued(flight, now);
  } else {
    flight.next_send_ns = now.local_ns + retry_ns(flight.tries);
  }
  ++flight.tries;
}

// The grant will be pushed. Asked again now and then, in case the push was lost, and at the
// deadline.
void SessionCore::settle_queued(Flight& flight, const LocalTime& now) {
  const Nanoseconds deadline =
      saturating_add(flight.first_sent_ns, saturating_add(flight.wait_ns, retry_ns(0)));
  const Nanoseconds again = now.local_ns + nonces_.jittered(options_.queued_repeat_ns, kSpread);
  flight.next_send_ns = now.local_ns < deadline ? std::min(again, deadline) : again;
}

std::size_t SessionCore::write_due(const LocalTime& now, std::span<std::uint8_t> out) {
  std::array<OperationId, wire::kOpsMax> ids{};
  std::size_t count = 0;
  for (Flight* flight : flights()) {
    if (flight->id == 0 || flight->next_send_ns > now.local_ns) continue;
    if (count + 1 + flight->more.size() > wire::kOpsMax) break;
    mark_sent(*flight, now);
    ids[count] = flight->id;
    wire::store(wire::record(out.data(), count++), flight->record);
    for (const wire::More& more : flight->more) {
      wire::store(wire::record(out.data(), count++), more);
    }
  }
  if (count == 0) return 0;
  const std::size_t bytes = wire::datagram_bytes(count);
  const std::uint64_t nonce = nonces_.next();
  write_header(out, session_id_, nonce, count, now);
  sign_datagram(session_key_, out.first(bytes));
  note_sent(nonce, now).records = ids;
  return bytes;
}

void SessionCore::settle(Flight& flight, const wire::Reply& reply, const LocalTime& now) {
  if (flight.record.op == wire::Op::kCancel) return settle_cancel(flight, reply, now);
  switch (reply.status) {
    case wire::Status::kQueued:
      flight.queued = true;
      return settle_queued(flight, now);
    case wire::Status::kNoSession:
    case wire::Status::kSessionEnded:
    case wire::Status::kStaleSequence:
    case wire::Status::kMisordered:
    case wire::Status::kFalseRepeat:
      return lose(now);  // the node's record of this session is not ours
    default:
      break;
  }
  const wire::Op op = flight.record.op;
  const bool granted = reply.status == wire::Status::kOk;
  if (op == wire::Op::kReclaim) return settle_reclaim(flight, reply, now);
  const bool leases = may_wait(op) || op == wire::Op::kRenew;
  if (granted && leases) learn_lease(reply.lease_end_ns, reply.term_ns, now);
  if (op == wire::Op::kClose) return lose(now);
  // A conversion that crossed its cancel stands; a grant is given back.
  if (may_wait(op) && op != wire::Op::kConvert && flight.cancelling && granted) {
    if (!flight.cancelled) {
      flight.granted = reply;  // whose it is, the cancel's answer tells
      flight.next_send_ns = kNever;
      return;
    }
    return finish(flight, Verdict::kAnswered,
                  synthetic_reply(flight.record, wire::Status::kCancelled), now);
  }
  finish(flight, Verdict::kAnswered, reply, now);
}

void SessionCore::settle_cancel(Flight& flight, const wire::Reply& reply, const LocalTime& now) {
  Flight* acquire = find(flight.cancels);
  const bool done = reply.status == wire::Status::kOk;
  finish(flight, Verdict::kAnswered, reply, now);
  if (acquire == nullptr || acquire->id == 0) return;
  acquire->cancelled = done;
  if (!acquire->granted) {  // ask for its own last word
    acquire->next_send_ns = now.local_ns;
    acquire->queued = false;
    return;
  }
  finish(*acquire, Verdict::kAnswered,
         done ? synthetic_reply(acquire->record, wire::Status::kCancelled) : *acquire->granted,
         now);
}

void SessionCore::finish(Flight& flight, Verdict verdict, const wire::Reply& reply,
                         const LocalTime& now) {
  const Flight done = flight;
  flight = Flight{};
  if (done.record.op == wire::Op::kRenew && verdict == Verdict::kAnswered) {
    renewing_ = false;
    const Nanoseconds gap = reply.status == wire::Status::kOk ? term_ns_ / 3 : term_ns_ / 10;
    renew_at_ns_ = done.first_sent_ns + nonces_.jittered(gap, 0.1);
  }
  const bool kept = verdict == Verdict::kAnswered && reply.status == wire::Status::kOk;
  Completion completion;
  if (verdict == Verdict::kAnswered) note_outcome(done, reply, completion, now);
  // Granted after its user was told that no answer came: nobody else would give it back.
  if (done.reported && kept) give_back_unwanted(done, reply, now);
  if (done.own || done.reported) return;
  completion.id = done.id;
  completion.op = done.record.op;
  completion.verdict = verdict;
  completion.reply = reply;
  if (may_wait(done.record.op)) completion.reply.token = newest_name(reply.token);
  completion.took_ns = now.local_ns - done.submitted_ns;
  completions_.push_back(std::move(completion));
}

void SessionCore::give_back_unwanted(const Flight& flight, const wire::Reply& reply,
                                     const LocalTime& now) {
  const auto release = [&](const LockName& name, std::uint64_t token) {
    Waiting waiting;
    waiting.id = ++last_id_;
    waiting.operation.op = wire::Op::kRelease;
    waiting.operation.name = name;
    waiting.operation.token = token;
    waiting.submitted_ns = now.local_ns;
    waiting.own = true;
    waiting_.push_back(waiting);
  };
  if (flight.record.op == wire::Op::kAcquire) {
    LockName name;
    name.namespace_id = flight.record.namespace_id;
    name.length = flight.record.key_length;
    name.bytes = flight.record.key;
    release(name, reply.token);
  } else if (flight.record.op == wire::Op::kAcquireGroup) {
    for (std::size_t i = 0; i < flight.grants.size(); ++i) {
      release(flight.group[i].name, flight.grants[i].token);
    }
  }
}

void SessionCore::cancel(OperationId id, const LocalTime& now) {
  observe(now);
  const auto waiting = std::find_if(waiting_.begin(), waiting_.end(),
                                    [id](const Waiting& each) { return each.id == id; });
  if (waiting != waiting_.end()) {
    wire::Request record;
    record.op = waiting->operation.op;
    record.mode = waiting->operation.mode;
    complete(id, record.op, Verdict::kAnswered, now.local_ns - waiting->submitted_ns);
    completions_.back().reply = synthetic_reply(record, wire::Status::kCancelled);
    waiting_.erase(waiting);
    return;
  }
  if (Flight* flight = find(id); flight != nullptr && id != 0) start_cancel(*flight, now);
}

void SessionCore::start_cancel(Flight& flight, const LocalTime& now) {
  if (!may_wait(flight.record.op) || flight.cancelling) return;
  flight.cancelling = true;
  Waiting cancel;
  cancel.id = ++last_id_;
  cancel.operation.op = wire::Op::kCancel;
  cancel.cancels = flight.id;
  cancel.submitted_ns = now.local_ns;
  cancel.own = true;
  waiting_.push_front(cancel);
}

void SessionCore::give_up(const LocalTime& now) {
  const auto close = std::find_if(waiting_.begin(), waiting_.end(), [](const Waiting& each) {
    return each.operation.op == wire::Op::kClose;
  });
  if (close != waiting_.end() && now.local_ns >= close->submitted_ns + kClosePatienceNs) {
    return lose(now);  // every slot is taken by what is not answered
  }
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const Nanoseconds patience = saturating_add(it->operation.wait_ns, it->operation.patience_ns);
    if (it->own || now.local_ns < saturating_add(it->submitted_ns, patience)) {
      ++it;
      continue;
    }
    complete(it->id, it->operation.op, Verdict::kUnreachable, now.local_ns - it->submitted_ns);
    if (it->operation.op == wire::Op::kRelease) {
      it->own = true;  // its user has given the lock up: the node must hear of it all the same
      ++it;
    } else {
      it = waiting_.erase(it);
    }
  }
  for (Flight* flight : flights()) {
    if (flight->id != 0 && !flight->reported && now.local_ns >= flight->give_up_ns) {
      give_up(*flight, now);
      if (phase_ == Phase::kIdle) return;
    }
  }
}

// The user is told; the slot stays occupied, because the node may still act on what was sent.
void SessionCore::give_up(Flight& flight, const LocalTime& now) {
  if (flight.record.op == wire::Op::kClose) return lose(now);
  if (flight.record.slot == wire::kNoSlot) {
    return finish(flight, Verdict::kUnreachable, {}, now);
  }
  complete(flight.id, flight.record.op, Verdict::kUnreachable, now.local_ns - flight.submitted_ns);
  flight.reported = true;
  start_cancel(flight, now);
}

}  // namespace driftlock::client
