// SessionCore: beginning and end of a session. An open is sent twice: without a cookie, which costs
// the node nothing, then with the one it answered.
#include <algorithm>

#include "src/client/session_core.hpp"

namespace driftlock::client {
namespace {

constexpr Nanoseconds kRefusedRetryNs = 500 * kMillisecond;
constexpr double kSpread = 0.25;

}  // namespace

void SessionCore::start_opening(const LocalTime& now) {
  if (opening_.active) return;
  opening_ = {};
  opening_.active = true;
  begin_attempt();
  opening_.next_send_ns = now.local_ns;
  if (phase_ == Phase::kIdle) phase_ = Phase::kOpening;
}

// A late answer to an open of another attempt is not this one's: its session has a key that we
// could no longer derive.
void SessionCore::begin_attempt() {
  opening_.client_nonce = nonces_.next_bytes();
  opening_.cookie = {};
  for (Sent& sent : sent_) {
    if (sent.opens) sent = {};
  }
}

std::size_t SessionCore::write_open(const LocalTime& now, std::span<std::uint8_t> out) {
  const std::size_t bytes = wire::datagram_bytes(1);
  const std::uint64_t nonce = nonces_.next();
  write_header(out, options_.client_id, nonce, 1, now);
  wire::OpenRequest request;
  request.slots = options_.slots;
  if (options_.fixed_term) request.flags |= wire::kFixedTerm;
  request.client_nonce = opening_.client_nonce;
  request.cookie = opening_.cookie;
  request.term_ns = options_.term_ns;
  request.lock_delay_ms = options_.lock_delay_ms;
  wire::store(wire::record(out.data(), 0), request);
  sign_datagram(options_.client_key, out.first(bytes));
  note_sent(nonce, now).opens = true;
  if (opening_.tries > 0) ++counters_.repeated;
  opening_.next_send_ns = now.local_ns + retry_ns(opening_.tries++);
  return bytes;
}

void SessionCore::receive_open(std::span<const std::uint8_t> datagram, const wire::Header& header,
                               const LocalTime& now) {
  Sent* sent = find_sent(header.nonce);
  const bool expected = opening_.active && sent != nullptr && sent->opens && header.op_count == 1 &&
                        header.kind == wire::Kind::kReply;
  if (!expected || !verify_datagram(options_.client_key, datagram)) {
    ++counters_.rejected;
    return;
  }
  ++counters_.received;
  last_header_ = header;
  sent->nonce = 0;
  const Moment moment = sent->moment;
  const auto reply = wire::load<wire::OpenReply>(wire::record(datagram.data(), 0));
  if (reply.status == wire::Status::kCookie) {
    opening_.cookie = reply.cookie;
    opening_.next_send_ns = now.local_ns;
    return;
  }
  if (reply.status != wire::Status::kOk) return refuse_open(reply.status, now);
  // Without a bound on the node's clock no lease of its can be kept.
  if (header.error_ns == wire::kUnknownError) return refuse_open(wire::Status::kClockLost, now);
  if (reply.slots < 2 || reply.slots > wire::kSlotsMax || reply.term_ns <= 0) {
    return refuse_open(wire::Status::kBadRequest, now);
  }
  // The node answers, and not to the old session. If it has restarted, tickets prove what it does
  // not remember.
  const bool reclaims = phase_ == Phase::kOpen && can_reclaim(header.epoch, now);
  if (reclaims) {
    fail_everything(now);
  } else if (phase_ == Phase::kOpen) {
    lose(now);
  }
  phase_ = Phase::kOpening;
  epoch_ = header.epoch;
  learn_from_exchange(header, moment, now);
  adopt(reply, reclaims, now);
}

void SessionCore::refuse_open(wire::Status status, const LocalTime& now) {
  if (open_refusal_ != status) {
    events_.push_back({EventKind::kOpenRefused, status, 0, 0, 0});
  }
  open_refusal_ = status;
  // A later answer may be another: a client can be given its key, a table can empty.
  begin_attempt();
  opening_.next_send_ns = now.local_ns + nonces_.jittered(kRefusedRetryNs, kSpread);
}

void SessionCore::adopt(const wire::OpenReply& reply, bool reclaims, const LocalTime& now) {
  opening_.active = false;
  open_refusal_.reset();
  session_id_ = reply.session_id;
  session_key_ = derive_session_key(options_.client_key, opening_.client_nonce, reply.node_nonce,
                                    reply.session_id);
  slots_.assign(std::min(reply.slots, options_.slots), Slot{});
  unnumbered_.clear();
  renewing_ = false;
  hints_ = 0;
  unproven_ = false;
  lease_end_ns_ = 0;
  phase_ = Phase::kOpen;
  if (reclaims) {
    start_reclaims(now);
  } else {
    lease_ = std::make_shared<LeaseView>();
  }
  learn_lease(reply.lease_end_ns, reply.term_ns, now);
  renew_at_ns_ = now.local_ns + nonces_.jittered(term_ns_ / 3, 0.1);
  if (reclaiming_ > 0) return;
  announced_ = lease_->state(now.local_ns);
  events_.push_back({EventKind::kOpened, wire::Status::kOk, lease_->safe_until_ns(), 0, 0});
}

// Not authentic, so it proves nothing; but only someone who saw the request knows its nonce. When
// the session is said to be unknown, an open, which is authenticated both ways, is the check.
void SessionCore::receive_hint(const wire::Header& header, const LocalTime& now) {
  Sent* sent = find_sent(header.nonce);
  if (sent == nullptr) {
    ++counters_.rejected;
    return;
  }
  sent->nonce = 0;
  const auto status = static_cast<wire::Status>(header.status);
  events_.push_back({EventKind::kNodeHint, status, 0, 0, 0});
  if (status != wire::Status::kNoSession || sent->opens) return;
  if (phase_ == Phase::kClosing) return lose(now);
  if (phase_ != Phase::kOpen || ++hints_ < kHintsForReopen) return;
  if (!options_.reopen) return lose(now);
  lease_->extend(lease_->safe_until_ns(), kLongAgo);
  if (!unproven_) announce(HolderState::kJeopardy);
  start_opening(now);
}

void SessionCore::lose(const LocalTime& now) {
  const bool closing = phase_ == Phase::kClosing;
  end_session(now);
  if (closing) {
    events_.push_back({EventKind::kClosed, wire::Status::kOk, 0, 0, 0});
    return;
  }
  ++counters_.sessions_lost;
  events_.push_back({EventKind::kLost, wire::Status::kNoSession, 0, 0, 0});
  if (options_.reopen) start_opening(now);
}

void SessionCore::end_session(const LocalTime& now) {
  lease_->lose();
  phase_ = Phase::kIdle;
  unproven_ = false;
  announced_ = HolderState::kLost;
  held_.clear();
  renamed_.clear();
  reclaiming_ = 0;
  fail_everything(now);
  lease_ = std::make_shared<LeaseView>();
}

void SessionCore::fail_everything(const LocalTime& now) {
  for (Flight* flight : flights()) {
    if (flight->id != 0) finish(*flight, Verdict::kSessionLost, {}, now);
  }
  renewing_ = false;
  std::deque<Waiting> waiting;
  waiting.swap(waiting_);
  for (const Waiting& each : waiting) {
    if (each.own) continue;
    complete(each.id, each.operation.op, Verdict::kSessionLost, now.local_ns - each.submitted_ns);
  }
}

}  // namespace driftlock::client
