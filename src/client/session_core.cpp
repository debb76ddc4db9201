#include "src/client/session_core.hpp"

#include <algorithm>

namespace driftlock::client {

SessionCore::SessionCore(const SessionOptions& options, const SecretKey& seed)
    : options_(options), nonces_(seed), node_clock_(options.drift_bound) {
  DRIFTLOCK_ASSERT(options.slots >= 2 && options.slots <= wire::kSlotsMax);
  DRIFTLOCK_ASSERT(options.drift_bound >= 0.0 && options.drift_bound < 0.5);
}

void SessionCore::open(const LocalTime& now) {
  DRIFTLOCK_ASSERT(phase_ == Phase::kIdle);
  start_opening(now);
}

void SessionCore::resume(const SavedSession& saved, const LocalTime& now) {
  DRIFTLOCK_ASSERT(phase_ == Phase::kIdle && !saved.sequences.empty());
  phase_ = Phase::kOpen;
  unproven_ = true;
  session_id_ = saved.session_id;
  session_key_ = saved.key;
  epoch_ = saved.epoch;
  term_ns_ = saved.term_ns;
  lease_end_ns_ = saved.lease_end_ns;
  slots_.assign(saved.sequences.size(), Slot{});
  for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].sequence = saved.sequences[i];
  renew_at_ns_ = now.local_ns;
}

SavedSession SessionCore::save() const {
  SavedSession saved{session_id_, session_key_, epoch_, term_ns_, lease_end_ns_, {}};
  for (const Slot& slot : slots_) saved.sequences.push_back(slot.sequence);
  return saved;
}

void SessionCore::close(const LocalTime& now) {
  observe(now);
  opening_.active = false;
  if (phase_ != Phase::kOpen) {
    fail_everything(now);
    if (phase_ != Phase::kClosing) {
      phase_ = Phase::kIdle;
      events_.push_back({EventKind::kClosed, wire::Status::kOk, 0, 0, 0});
    }
    return;
  }
  phase_ = Phase::kClosing;
  lease_->lose();
  for (const Waiting& waiting : waiting_) {
    if (waiting.own) continue;
    complete(waiting.id, waiting.operation.op, Verdict::kSessionLost, 0);
  }
  waiting_.clear();
  // A renewal that was dropped with the rest must not keep slot 0 from the close.
  renewing_ = slots_[0].flight.id != 0 && slots_[0].flight.record.op == wire::Op::kRenew;
  for (Slot& slot : slots_) {  // nor a grant that waits for a cancel dropped as well
    if (slot.flight.granted) finish(slot.flight, Verdict::kSessionLost, {}, now);
  }
  Waiting closing;
  closing.id = ++last_id_;
  closing.operation.op = wire::Op::kClose;
  closing.submitted_ns = now.local_ns;
  closing.own = true;
  waiting_.push_front(closing);
}

OperationId SessionCore::submit(const Operation& operation, const LocalTime& now) {
  observe(now);
  Waiting waiting;
  waiting.id = ++last_id_;
  waiting.operation = operation;
  waiting.submitted_ns = now.local_ns;
  if (operation.op == wire::Op::kRelease) {
    const auto held = held_.find(newest_name(operation.token));
    if (held != held_.end()) ++held->second.releasing;
  }
  waiting_.push_back(waiting);
  return waiting.id;
}

// Whatever this program was told before a pause may be over: it is looked at before anything else.
void SessionCore::observe(const LocalTime& now) {
  if (promised_wake_ns_ != kNever && now.local_ns - promised_wake_ns_ > options_.pause_ns) {
    ++counters_.pauses;
    events_.push_back(
        {EventKind::kPaused, wire::Status::kOk, 0, now.local_ns - promised_wake_ns_, 0});
  }
  promised_wake_ns_ = kNever;
  if (phase_ == Phase::kOpen && !unproven_) {
    const HolderState state = lease_->state(now.local_ns);
    if (state == HolderState::kLost) {
      lose(now);
    } else {
      announce(state);
    }
  }
  give_up(now);
  plan_renewal(now);
}

void SessionCore::announce(HolderState state) {
  if (state == announced_) return;
  announced_ = state;
  events_.push_back({state == HolderState::kSafe ? EventKind::kSafe : EventKind::kJeopardy,
                     wire::Status::kOk, lease_->safe_until_ns(), 0, 0});
}

std::size_t SessionCore::next_datagram(const LocalTime& now, std::span<std::uint8_t> out) {
  DRIFTLOCK_ASSERT(out.size() >= wire::kDatagramBytesMax);
  observe(now);
  std::size_t bytes = 0;
  if (opening_.active && now.local_ns >= opening_.next_send_ns) bytes = write_open(now, out);
  if (bytes == 0 && (phase_ == Phase::kOpen || phase_ == Phase::kClosing)) {
    fill_slots(now);
    bytes = write_due(now, out);
  }
  if (bytes != 0) {
    ++counters_.sent;
  } else {
    promised_wake_ns_ = wake_at();
  }
  return bytes;
}

void SessionCore::write_header(std::span<std::uint8_t> out, std::uint64_t signer,
                               std::uint64_t nonce, std::size_t op_count,
                               const LocalTime& now) const {
  wire::Header header;
  header.length = static_cast<std::uint16_t>(wire::datagram_bytes(op_count));
  header.session_id = signer;
  header.nonce = nonce;
  header.time_ns = now.tai_ns;
  if (now.state != ClockState::kLost) {
    const Nanoseconds error = std::max(now.tai.latest - now.tai_ns, now.tai_ns - now.tai.earliest);
    if (error < wire::kUnknownError) header.error_ns = static_cast<std::uint32_t>(error);
  }
  header.clock_state = static_cast<std::uint8_t>(now.state);
  header.op_count = static_cast<std::uint8_t>(op_count);
  header.epoch = epoch_;
  wire::store(out.data(), header);
}

SessionCore::Sent& SessionCore::note_sent(std::uint64_t nonce, const LocalTime& now) {
  Sent& sent = sent_[sent_next_++ % kSentMax];
  sent = {};
  sent.nonce = nonce;
  sent.moment = {now.local_ns, now.tai_ns};
  return sent;
}

SessionCore::Sent* SessionCore::find_sent(std::uint64_t nonce) {
  if (nonce == 0) return nullptr;
  const auto found = std::find_if(sent_.begin(), sent_.end(),
                                  [nonce](const Sent& sent) { return sent.nonce == nonce; });
  return found == sent_.end() ? nullptr : &*found;
}

void SessionCore::receive(std::span<const std::uint8_t> datagram, const LocalTime& now) {
  observe(now);
  if (datagram.size() < sizeof(wire::Header)) {
    ++counters_.rejected;
    return;
  }
  const auto header = wire::load<wire::Header>(datagram.data());
  if (header.magic == wire::kMagic && header.kind == wire::Kind::kError &&
      datagram.size() == wire::kErrorBytes) {
    receive_hint(header, now);
    return;
  }
  const bool well_formed =
      header.magic == wire::kMagic && header.version == wire::kVersion &&
      (header.kind == wire::Kind::kReply || header.kind == wire::Kind::kPush) &&
      header.op_count >= 1 && header.op_count <= wire::kOpsMax &&
      header.length == datagram.size() && datagram.size() == wire::datagram_bytes(header.op_count);
  if (!well_formed) {
    ++counters_.rejected;
    return;
  }
  if (wire::load<wire::Op>(wire::record(datagram.data(), 0)) == wire::Op::kOpen) {
    receive_open(datagram, header, now);
  } else {
    receive_signed(datagram, header, now);
  }
}

void SessionCore::receive_signed(std::span<const std::uint8_t> datagram, const wire::Header& header,
                                 const LocalTime& now) {
  const bool expected =
      (phase_ == Phase::kOpen || phase_ == Phase::kClosing) && header.session_id == session_id_;
  if (!expected || !verify_datagram(session_key_, datagram)) {
    ++counters_.rejected;
    return;
  }
  ++counters_.received;
  hints_ = 0;
  if (phase_ == Phase::kOpen) opening_.active = false;  // the session lives after all
  last_header_ = header;
  epoch_ = header.epoch;
  std::array<OperationId, wire::kOpsMax> expected_ids{};
  if (header.kind == wire::Kind::kReply) {
    if (Sent* sent = find_sent(header.nonce); sent != nullptr && !sent->opens) {
      expected_ids = sent->records;
      sent->nonce = 0;
      learn_from_exchange(header, sent->moment, now);
    }
  }
  for (std::size_t i = 0; i < header.op_count; ++i) {
    receive_record(wire::record(datagram.data(), i), header.op_count - i, expected_ids[i], now);
    if (phase_ != Phase::kOpen && phase_ != Phase::kClosing) return;
  }
}

void SessionCore::receive_record(const std::uint8_t* record, std::size_t records,
                                 OperationId expected, const LocalTime& now) {
  const auto reply = wire::load<wire::Reply>(record);
  if (reply.op == wire::Op::kMore) return;  // seen with the record before
  if (reply.slot == wire::kNoSlot) {
    if (reply.op == wire::Op::kNone && reply.status == wire::Status::kRevoked) {
      return revoke(reply.token);
    }
    if (reply.op == wire::Op::kAskRenewal) return renew_at_once(now);
    // The place in the datagram says which question this answers.
    Flight* flight = expected != 0 ? find(expected) : nullptr;
    if (flight != nullptr && flight->record.slot == wire::kNoSlot &&
        flight->record.op == reply.op) {
      settle(*flight, reply, now);
    }
    return;
  }
  if (reply.slot >= slots_.size()) return;
  Flight& flight = slots_[reply.slot].flight;
  // What is cancelled before it arrives is answered as a plain acquire, whatever it was.
  const bool same_op = flight.record.op == reply.op ||
                       (flight.cancelling && reply.status == wire::Status::kCancelled);
  const bool mine = flight.id != 0 && flight.record.sequence == reply.sequence && same_op;
  if (!mine) return;  // a late repeat of an answer already had
  if (reply.op == wire::Op::kAcquireGroup && reply.status == wire::Status::kOk) {
    if (records < 1 + wire::more_records(flight.group.size())) return;
    read_grants(record, flight);
  }
  settle(flight, reply, now);
}

void SessionCore::read_grants(const std::uint8_t* record, Flight& flight) {
  flight.grants.clear();
  for (std::size_t i = 0; i < flight.group.size(); ++i) {
    const auto more =
        wire::load<wire::More>(record + (1 + i / wire::kGrantsPerRecord) * wire::kRecordBytes);
    flight.grants.push_back(wire::load<wire::Grant>(
        more.body.data() + (i % wire::kGrantsPerRecord) * sizeof(wire::Grant)));
  }
}

void SessionCore::learn_from_exchange(const wire::Header& header, const Moment& sent,
                                      const LocalTime& now) {
  if (header.error_ns == wire::kUnknownError) return;
  const bool agrees = node_clock_.add({sent.local_ns, now.local_ns, sent.tai_ns, now.tai_ns,
                                       header.time_ns, header.error_ns, header.residence_ns});
  if (!agrees) {
    ++counters_.clock_steps;
    events_.push_back({EventKind::kClockStepped, wire::Status::kOk, 0, 0, 0});
  }
  if (phase_ == Phase::kOpen) {
    unproven_ = false;
    extend_lease(now, !agrees);
  }
}

void SessionCore::learn_lease(Nanoseconds lease_end_ns, Nanoseconds term_ns, const LocalTime& now) {
  lease_end_ns_ = std::max(lease_end_ns_, lease_end_ns);
  if (term_ns > 0) term_ns_ = term_ns;
  if (phase_ == Phase::kOpen) extend_lease(now);
}

// Either clock's `latest` bounds the true time, so the smaller of the two decides, unless they
// contradict each other: then only the node's counts, because the grantor goes by it.
// What follows from an earlier reading stays true, unless the node's clock was stepped (`afresh`).
void SessionCore::extend_lease(const LocalTime& now, bool afresh) {
  if (reclaiming_ > 0) return;  // until then the locks are held by the lease of before
  Nanoseconds until = node_clock_.local_when_latest_reaches(lease_end_ns_);
  const bool synchronized = now.state == ClockState::kSync || now.state == ClockState::kHoldover;
  if (synchronized && node_clock_.measured() && node_clock_.at(now.local_ns).overlaps(now.tai)) {
    const Nanoseconds left = saturating_add(lease_end_ns_, -now.tai.latest);
    const auto local_left =
        static_cast<Nanoseconds>(static_cast<double>(left) / (1.0 + options_.drift_bound));
    if (left > 0) until = std::max(until, saturating_add(now.local_ns, local_left));
  }
  if (!afresh) until = std::max(until, lease_->safe_until_ns());
  lease_->extend(until, until == kLongAgo ? kLongAgo : until - term_ns_ / 3);
}

// Without an answer.
void SessionCore::complete(OperationId id, wire::Op op, Verdict verdict, Nanoseconds took_ns) {
  Completion completion;
  completion.id = id;
  completion.op = op;
  completion.verdict = verdict;
  completion.took_ns = took_ns;
  completions_.push_back(std::move(completion));
}

bool SessionCore::next_completion(Completion& completion) {
  if (completions_.empty()) return false;
  completion = completions_.front();
  completions_.pop_front();
  return true;
}

bool SessionCore::next_event(Event& event) {
  if (events_.empty()) return false;
  event = events_.front();
  events_.pop_front();
  return true;
}

Nanoseconds SessionCore::wake_at() const {
  Nanoseconds at = opening_.active ? opening_.next_send_ns : kNever;
  const auto consider = [&at](const Flight& flight) {
    if (flight.id == 0) return;
    at = std::min(at, flight.next_send_ns);
    if (!flight.reported) at = std::min(at, flight.give_up_ns);
  };
  for (const Slot& slot : slots_) consider(slot.flight);
  for (const Flight& flight : unnumbered_) consider(flight);
  for (const Waiting& waiting : waiting_) {
    if (waiting.operation.op == wire::Op::kClose) {
      at = std::min(at, saturating_add(waiting.submitted_ns, kClosePatienceNs));
    }
    if (waiting.own) continue;
    at = std::min(
        at, saturating_add(waiting.submitted_ns, saturating_add(waiting.operation.wait_ns,
                                                                waiting.operation.patience_ns)));
  }
  if (phase_ == Phase::kOpen) {
    if (!renewing_) at = std::min(at, renew_at_ns_);
    if (!unproven_) {
      at = std::min(at, lease_->safe_until_ns());
      if (announced_ == HolderState::kSafe) {
        at = std::min(at, lease_->jeopardy_from_ns());
      }
    }
  }
  return at;
}

bool SessionCore::idle() const {
  const auto free = [](const Flight& flight) { return flight.id == 0 || flight.own; };
  return waiting_.empty() &&
         std::all_of(slots_.begin(), slots_.end(),
                     [&](const Slot& slot) { return free(slot.flight); }) &&
         std::all_of(unnumbered_.begin(), unnumbered_.end(), free);
}

}  // namespace driftlock::client
