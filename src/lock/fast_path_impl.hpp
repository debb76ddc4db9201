// Definitions of FastPath. Include it only where the template is instantiated.
#pragma once

#include <limits>

#include "src/lock/fast_path.hpp"
#include "src/lock/mac_batch.hpp"

namespace driftlock {

template <Port P, Clock C, Observer O>
FastPath<P, C, O>::FastPath(P& port, const C& clock, Engine& engine, O& observer,
                            FastPathCounters& counters)
    : port_(port), clock_(clock), engine_(engine), observer_(observer), counters_(counters) {}

template <Port P, Clock C, Observer O>
std::size_t FastPath<P, C, O>::poll() {
  const std::size_t received = port_.receive(burst_);
  const std::uint64_t now_ticks = clock_.ticks();
  const auto view = clock_.view();
  const ClockReading now = view.at(now_ticks);
  read_ticks_ = now_ticks;
  reading_ = now;
  engine_.advance(now);

  // Each stage runs over the whole burst, so that one datagram's cache misses hide behind another's
  // work.
  for (std::size_t i = 0; i < received; ++i) prefetch_payload(i);
  for (std::size_t i = 0; i < received; ++i) parse(i);
  authenticate(received);
  for (std::size_t i = 0; i < received; ++i) hash_keys(i);
  for (std::size_t i = 0; i < received; ++i) prefetch_locks(i);
  for (std::size_t i = 0; i < received; ++i) prefetch_places(i);
  for (std::size_t i = 0; i < received; ++i) serve(i, now, view);
  send_outgoing();

  if constexpr (Forecaster<O>) observer_.turn(engine_, now);
  run_orders(now);
  push_waiting(now, now_ticks);
  run_task(now);
  counters_.datagrams_received.add(received);
  counters_.polls.add();
  if (received == 0) counters_.polls_idle.add();
  return received;
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::prefetch_payload(std::size_t index) const {
  constexpr std::size_t kLine = 64;
  const Datagram& datagram = burst_[index];
  for (std::size_t at = 0; at < datagram.length; at += kLine) {
    __builtin_prefetch(datagram.payload + at, 1);
  }
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::parse(std::size_t index) {
  const Datagram& datagram = burst_[index];
  Pending& pending = pending_[index];
  pending.session = kNil;
  pending.reject = wire::check_request({datagram.payload, datagram.length});
  if (datagram.length >= sizeof(wire::Header)) {
    pending.header = wire::load<wire::Header>(datagram.payload);
  }
  if (pending.reject == wire::Reject::kNone) engine_.sessions().prefetch(pending.header.session_id);
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::authenticate(std::size_t received) {
  MacBatch batch([this](std::size_t index, const Mac& mac) {
    const Datagram& datagram = burst_[index];
    const std::uint8_t* theirs = datagram.payload + datagram.length - wire::kMacBytes;
    if (!equal_mac(mac, wire::load<Mac>(theirs))) {
      pending_[index].reject = wire::Reject::kBadMac;
    }
  });
  for (std::size_t i = 0; i < received; ++i) {
    const SecretKey* key = find_key(i);
    if (key != nullptr) batch.add(i, *key, burst_[i].payload, burst_[i].length);
  }
  batch.flush();
}

template <Port P, Clock C, Observer O>
const SecretKey* FastPath<P, C, O>::find_key(std::size_t index) {
  Pending& pending = pending_[index];
  if (pending.reject != wire::Reject::kNone) return nullptr;
  const std::uint64_t id = pending.header.session_id;
  if (static_cast<wire::Op>(*wire::record(burst_[index].payload, 0)) == wire::Op::kOpen) {
    const SecretKey* key = engine_.keyring().find(id);
    if (key == nullptr) pending.reject = wire::Reject::kUnknownClient;
    return key;
  }
  pending.session = engine_.sessions().find(id);
  if (pending.session == kNil) {
    pending.reject = wire::Reject::kUnknownSession;
    return nullptr;
  }
  return &engine_.sessions().at(pending.session).key;
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::hash_keys(std::size_t index) {
  Pending& pending = pending_[index];
  if (pending.reject != wire::Reject::kNone || pending.session == kNil) return;
  for (std::size_t op = 0; op < pending.header.op_count; ++op) {
    pending.key_hashes[op] = engine_.prefetch(
        pending.session, wire::load<wire::Request>(wire::record(burst_[index].payload, op)));
  }
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::prefetch_locks(std::size_t index) {
  const Pending& pending = pending_[index];
  if (pending.reject != wire::Reject::kNone || pending.session == kNil) return;
  for (std::size_t op = 0; op < pending.header.op_count; ++op) {
    engine_.prefetch_lock(pending.session, pending.key_hashes[op]);
  }
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::prefetch_places(std::size_t index) {
  const Pending& pending = pending_[index];
  if (pending.reject != wire::Reject::kNone || pending.session == kNil) return;
  for (std::size_t op = 0; op < pending.header.op_count; ++op) {
    engine_.prefetch_place(pending.key_hashes[op]);
  }
}

template <Port P, Clock C, Observer O>
template <typename View>
void FastPath<P, C, O>::serve(std::size_t index, const ClockReading& now, const View& view) {
  Datagram& datagram = burst_[index];
  Pending& pending = pending_[index];
  counters_.stamps[static_cast<std::size_t>(datagram.stamp.source)].add();
  // An open earlier in this burst may have taken over the record of an ended session.
  if (pending.session != kNil &&
      engine_.sessions().at(pending.session).id != pending.header.session_id) {
    pending.reject = wire::Reject::kUnknownSession;
  }
  if (pending.reject != wire::Reject::kNone) {
    reject(index);
    return;
  }
  RequestContext context;
  context.now = now;
  if (datagram.stamp.ticks != read_ticks_) {  // a burst stamped by its poll has one reading
    read_ticks_ = datagram.stamp.ticks;
    reading_ = view.at(read_ticks_);
  }
  context.received = reading_;
  context.client_time_ns = pending.header.time_ns;
  context.client_error_ns = pending.header.error_ns;
  context.peer = datagram.peer;
  if (pending.session == kNil) {
    serve_open(datagram, pending, context);
  } else {
    serve_operations(datagram, pending, context);
  }
  counters_.datagrams_answered.add();
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::serve_open(Datagram& datagram, Pending& pending,
                                   const RequestContext& context) {
  const std::uint64_t client_id = pending.header.session_id;
  const SecretKey& key = *engine_.keyring().find(client_id);
  for (std::size_t op = 0; op < pending.header.op_count; ++op) {
    std::uint8_t* record = wire::record(datagram.payload, op);
    wire::OpenReply reply;
    if (op == 0) {
      reply = engine_.open(client_id, key, wire::load<wire::OpenRequest>(record), context);
    } else {
      reply.op = static_cast<wire::Op>(*record);  // an open comes alone
      reply.status = wire::Status::kBadRequest;
    }
    counters_
        .operations[static_cast<std::size_t>(wire::Op::kOpen)]
                   [static_cast<std::size_t>(reply.status)]
        .add();
    wire::store(record, reply);
  }
  wire::overlay<wire::Header>(datagram.payload).kind = wire::Kind::kReply;
  counters_.residence.record(finish(datagram, key, context.received));
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::serve_operations(Datagram& datagram, Pending& pending,
                                         const RequestContext& context) {
  const Session& session = engine_.sessions().at(pending.session);
  for (std::size_t op = 0; op < pending.header.op_count; ++op) {
    std::uint8_t* record = wire::record(datagram.payload, op);
    const auto request = wire::load<wire::Request>(record);
    const std::uint64_t key_hash = pending.key_hashes[op];
    const std::size_t more = request.op == wire::Op::kAcquireGroup ? request.other_slot : 0;
    // Written over its request, which has been copied out.
    wire::Reply& reply = wire::overlay<wire::Reply>(record);
    if (more != 0 && op + more < pending.header.op_count) {
      serve_group(record, pending.session, request, context);
      op += more;
    } else {
      engine_.handle(pending.session, request, key_hash, context, reply);
      if (request.op == wire::Op::kProbeReport) {
        if (const auto report = engine_.take_path_report()) observer_.observe_path(*report);
      }
    }
    if constexpr (Forecaster<O>) {
      if (reply.status == wire::Status::kQueued && key_hash != 0) {
        reply.wait_forecast_us = observer_.forecast_us(engine_, key_hash, pending.session,
                                                       request.slot, reply.waiters, context.now);
      }
    }
    const auto kind = static_cast<std::size_t>(reply.op);
    counters_.operations[kind < wire::kOpCount ? kind : 0][static_cast<std::size_t>(reply.status)]
        .add();
    observe(session, pending.session, key_hash, reply, context);
  }
  wire::overlay<wire::Header>(datagram.payload).kind = wire::Kind::kReply;
  counters_.residence.record(finish(datagram, session.key, context.received));
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::serve_group(std::uint8_t* record, std::uint32_t session,
                                    const wire::Request& request, const RequestContext& context) {
  std::array<wire::More, wire::kOpsMax> more;
  for (std::size_t i = 0; i < request.other_slot; ++i) {
    more[i] = wire::load<wire::More>(record + (i + 1) * wire::kRecordBytes);
  }
  engine_.handle_group(session, request, {more.data(), request.other_slot}, context,
                       wire::overlay<wire::Reply>(record));
  for (std::size_t i = 0; i < request.other_slot; ++i) {
    wire::store(record + (i + 1) * wire::kRecordBytes, more[i]);
  }
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::observe(const Session& session, std::uint32_t session_index,
                                std::uint64_t key_hash, const wire::Reply& reply,
                                const RequestContext& context) {
  Activity activity;
  activity.session_index = session_index;
  activity.session_id = session.id;
  activity.client_id = session.client_id;
  activity.key_hash = key_hash;
  activity.op = reply.op;
  activity.status = reply.status;
  activity.received_tai_ns = context.received.tai.middle();
  activity.waited_ns = context.now.tai.middle() - activity.received_tai_ns;
  activity.transit_ns = activity.received_tai_ns - context.client_time_ns;
  activity.lease_end_ns = reply.lease_end_ns;
  activity.term_ns = reply.term_ns;
  if (reply.op == wire::Op::kRelease && reply.status == wire::Status::kOk) {
    const Nanoseconds clock_ns = reply.clock_residual_ns;
    const Nanoseconds behaviour_ns = reply.behaviour_residual_ns;
    if (clock_ns != 0) counters_.clock_residual.record(clock_ns < 0 ? -clock_ns : clock_ns);
    if (behaviour_ns > 0) counters_.held_longer.record(behaviour_ns);
    if (behaviour_ns < 0) counters_.held_shorter.record(-behaviour_ns);
  }
  activity.clock_residual_ns = reply.clock_residual_ns;
  activity.behaviour_residual_ns = reply.behaviour_residual_ns;
  observer_.observe(activity);
}

template <Port P, Clock C, Observer O>
Nanoseconds FastPath<P, C, O>::finish(Datagram& datagram, const SecretKey& key,
                                      const ClockReading& received) {
  wire::Header& header = wire::overlay<wire::Header>(datagram.payload);
  header.time_ns = received.tai.middle();
  header.error_ns = static_cast<std::uint32_t>(
      std::min<Nanoseconds>(received.tai.half_width(), wire::kUnknownError));
  header.clock_state = static_cast<std::uint8_t>(received.state);
  header.stamp_source = static_cast<std::uint8_t>(datagram.stamp.source);
  header.status = 0;
  header.epoch = engine_.options().epoch;
  const Nanoseconds residence_ns = clock_.nanoseconds(clock_.ticks() - datagram.stamp.ticks);
  header.residence_ns = static_cast<std::uint32_t>(
      std::clamp<Nanoseconds>(residence_ns, 0, std::numeric_limits<std::uint32_t>::max()));
  // By the time it is signed, a session may have ended and its record may be another's.
  outgoing_keys_[outgoing_count_] = key;
  outgoing_signed_[outgoing_count_] = true;
  outgoing_[outgoing_count_++] = datagram;
  return residence_ns;
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::reject(std::size_t index) {
  Datagram& datagram = burst_[index];
  const Pending& pending = pending_[index];
  counters_.rejected[static_cast<std::size_t>(pending.reject)].add();
  const bool answered = pending.reject == wire::Reject::kBadVersion ||
                        pending.reject == wire::Reject::kUnknownSession;
  // Never an answer to what is not a request: two nodes must not keep each other busy.
  if (!answered || pending.header.kind != wire::Kind::kRequest) {
    port_.release(datagram);
    return;
  }
  wire::Header header = pending.header;
  header.version = wire::kVersion;
  header.kind = wire::Kind::kError;
  header.length = wire::kErrorBytes;
  header.op_count = 0;
  header.status = static_cast<std::uint8_t>(pending.reject == wire::Reject::kBadVersion
                                                ? wire::Status::kBadVersion
                                                : wire::Status::kNoSession);
  header.epoch = engine_.options().epoch;
  wire::store(datagram.payload, header);
  datagram.length = wire::kErrorBytes;
  counters_.errors_sent.add();
  outgoing_signed_[outgoing_count_] = false;
  outgoing_[outgoing_count_++] = datagram;
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::push_waiting(const ClockReading& now, std::uint64_t now_ticks) {
  Push push;
  Datagram datagram;
  while (outgoing_count_ < kBurst && engine_.has_push() && port_.allocate(datagram)) {
    if (!engine_.next_push(push)) {
      port_.release(datagram);
      break;
    }
    const Session& session = engine_.sessions().at(push.session);
    wire::Header header;
    header.kind = wire::Kind::kPush;
    header.session_id = session.id;
    header.op_count = static_cast<std::uint8_t>(1 + push.more_count);
    header.length = static_cast<std::uint16_t>(wire::datagram_bytes(header.op_count));
    datagram.length = header.length;
    datagram.peer = session.peer;
    datagram.traffic_class = push.traffic_class;
    datagram.stamp = {now_ticks, StampSource::kTsc};
    wire::store(wire::record(datagram.payload, 0), push.reply);
    for (std::size_t i = 0; i < push.more_count; ++i) {
      wire::store(wire::record(datagram.payload, i + 1), push.more[i]);
    }
    wire::store(datagram.payload, header);
    static_cast<void>(finish(datagram, session.key, now));
  }
  counters_.pushes_sent.add(outgoing_count_);
  send_outgoing();
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::send_outgoing() {
  if (outgoing_count_ == 0) return;
  MacBatch batch([this](std::size_t index, const Mac& mac) {
    const Datagram& datagram = outgoing_[index];
    wire::store(datagram.payload + datagram.length - wire::kMacBytes, mac);
  });
  for (std::size_t i = 0; i < outgoing_count_; ++i) {
    if (!outgoing_signed_[i]) continue;
    batch.add(i, outgoing_keys_[i], outgoing_[i].payload, outgoing_[i].length);
  }
  batch.flush();
  port_.send({outgoing_.data(), outgoing_count_});
  outgoing_count_ = 0;
}

// The engine itself sees to what is allowed: while the clock is LOST it grants no successor
// anything.
template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::run_orders(const ClockReading& now) {
  constexpr int kOrdersPerTurn = 64;
  SessionOrder order;
  for (int i = 0; i < kOrdersPerTurn && orders_.pop(order); ++i) {
    // A predictor that does not listen misses outcomes; it hears of the session itself in any case.
    static_cast<void>(outcomes_.push(engine_.obey(order, now)));
  }
}

template <Port P, Clock C, Observer O>
void FastPath<P, C, O>::run_task(const ClockReading& now) {
  if (current_task_ == nullptr && !tasks_.pop(current_task_)) return;
  EngineTask* task = current_task_;
  current_task_ = nullptr;
  // A task that is done may be destroyed by its owner before run() has returned here.
  if (!task->run(engine_, now)) current_task_ = task;
}

}  // namespace driftlock
