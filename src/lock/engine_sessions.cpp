// The Engine's sessions: opening, leases, ends.
#include <xxhash.h>

#include <algorithm>
#include <limits>

#include "src/lock/engine_internal.hpp"

namespace driftlock {
namespace {

using wire::Status;

constexpr std::uint32_t kClaimsPerTurn = 256;  // given back of ended sessions in one turn

std::size_t recent_open_index(const wire::Bytes16& nonce, std::size_t size) {
  return XXH3_64bits(nonce.data(), nonce.size()) & (size - 1);
}

}  // namespace

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
  if (index == kNil && !client_has_room(client_id)) {
    reply.status = Status::kQuota;
    return reply;
  }
  if (index == kNil) index = begin_session(client_id, client_key, request, context);
  if (index == kNil) {
    reply.status = Status::kFull;
    return reply;
  }
  const Session& session = sessions_.at(index);
  reply.slots = session.slot_count;
  reply.session_id = session.id;
  reply.node_nonce = node_nonce(session);
  reply.term_ns = session.term_ns();
  reply.lease_end_ns = session.lease_end_ns;
  return reply;
}

std::uint32_t Engine::begin_session(std::uint64_t client_id, const SecretKey& client_key,
                                    const wire::OpenRequest& request,
                                    const RequestContext& context) {
  const std::uint32_t index = sessions_.allocate();
  if (index == kNil) return kNil;
  Session& session = sessions_.at(index);
  session.client_id = client_id;
  session.client_nonce = request.client_nonce;
  session.slot_count = static_cast<std::uint8_t>(
      std::clamp<std::uint32_t>(request.slots, 1, sessions_.slots_per_session()));
  LeaseTerms& terms = terms_[index];
  terms = LeaseTerms{};
  terms.wanted_us = term_us(request.term_ns == 0 ? options_.term_default_ns : request.term_ns);
  terms.fixed = (request.flags & wire::kFixedTerm) != 0;
  session.term_us = terms.wanted_us;
  session.quick_term_us = terms.wanted_us;
  session.lock_delay_ms = static_cast<std::uint16_t>(
      std::min<std::uint32_t>(request.lock_delay_ms, wire::kLockDelayMsMax));
  session.peer = context.peer;
  takes_advances_[index] = (request.flags & wire::kTakesAdvances) != 0 ? 1 : 0;
  session.key =
      derive_session_key(client_key, request.client_nonce, node_nonce(session), session.id);
  extend_lease(session, context, session.term_us);
  session_timers_.schedule(index, session.lease_end_ns);
  recent_opens_[recent_open_index(request.client_nonce, recent_opens_.size())] = index;
  ++sessions_of(client_id);
  return index;
}

bool Engine::client_has_room(std::uint64_t client_id) const {
  if (options_.sessions_per_client_max == 0) return true;
  return client_sessions_[keyring_.position(client_id)] < options_.sessions_per_client_max;
}

std::uint32_t& Engine::sessions_of(std::uint64_t client_id) {
  return client_sessions_[keyring_.position(client_id)];
}

std::uint32_t Engine::term_us(Nanoseconds asked_ns) const {
  const Nanoseconds term_ns = std::clamp(asked_ns, options_.term_min_ns, options_.term_max_ns);
  constexpr Nanoseconds kMost = std::numeric_limits<std::uint32_t>::max();
  return static_cast<std::uint32_t>(
      std::clamp<Nanoseconds>((term_ns + kMicrosecond - 1) / kMicrosecond, 1, kMost));
}

void Engine::extend_lease(Session& session, const RequestContext& context, std::uint32_t by_us) {
  // Counted from `latest`, so that a client that counts the term from sending is never later than
  // this.
  const Nanoseconds wanted_ns =
      saturating_add(context.now.tai.latest, Nanoseconds{by_us} * kMicrosecond);
  if (wanted_ns > lease_end_wanted()) {
    lease_end_wanted_ns_.store(wanted_ns, std::memory_order_relaxed);
  }
  const Nanoseconds horizon_ns = lease_horizon_ns_.load(std::memory_order_relaxed);
  session.lease_end_ns = std::max(session.lease_end_ns, std::min(wanted_ns, horizon_ns));
}

void Engine::renew(std::uint32_t session_index, const wire::Request& request, Slot& slot,
                   const RequestContext& context) {
  if (context.now.state == ClockState::kLost) {
    slot.status = Status::kClockLost;  // a lease end that cannot be judged must not be promised
    return;
  }
  Session& session = sessions_.at(session_index);
  if (request.argument != 0) {
    terms_[session_index].wanted_us = term_us(engine_internal::duration_of(request.argument));
  }
  choose_term(session_index);
  extend_lease(session, context, session.term_us);
}

// A renewal's term: the client's wish, or what the predictor ordered: the short one where somebody
// waits for what the client holds, or the client itself waits and may soon hold with others behind.
void Engine::choose_term(std::uint32_t session_index) {
  const LeaseTerms& terms = terms_[session_index];
  Session& session = sessions_.at(session_index);
  session.term_us = session.quick_term_us = terms.wanted_us;
  if (terms.fixed || terms.short_us == 0) return;
  session.term_us = wanted_by_others(session_index) ? terms.short_us : terms.long_us;
  session.quick_term_us = std::min(terms.short_us, session.term_us);
}

// The timer of the session's lease has fired: renewed since, or over, or over and its delay too.
void Engine::lease_passed(std::uint32_t session_index, const ClockReading& now) {
  Session& session = sessions_.at(session_index);
  const Nanoseconds delay_ns = Nanoseconds{session.lock_delay_ms} * kMillisecond;
  const Nanoseconds end_ns = saturating_add(session.lease_end_ns, delay_ns);
  if (session.state == SessionState::kActive) {
    if (session.lease_end_ns >= now.tai.earliest) {
      session_timers_.schedule(session_index, session.lease_end_ns);
      return;
    }
    gauges_.sessions_expired.add();
    if (delay_ns == 0) {
      end_session(session_index, now);
      return;
    }
    sessions_.ended();
    --sessions_of(session.client_id);
    session.state = SessionState::kDelayed;
    end_waits(session_index, now);  // only what it holds outlasts its lease
  }
  if (session.state != SessionState::kDelayed) return;
  if (end_ns >= now.tai.earliest) {
    session_timers_.schedule(session_index, end_ns);
  } else {
    end_session(session_index, now);
  }
}

void Engine::end_session(std::uint32_t session_index, const ClockReading& now) {
  Session& session = sessions_.at(session_index);
  if (session.state == SessionState::kActive) {
    sessions_.ended();
    --sessions_of(session.client_id);
  }
  session.state = SessionState::kEnding;
  restore(session_index);
  session_timers_.cancel(session_index);
  ending_[ending_count_++] = session_index;
  namespaces_.session_ended(session_index);
  end_waits(session_index, now);
}

// A group is one wait: it must be over before its members' claims are given back one by one.
void Engine::end_waits(std::uint32_t session_index, const ClockReading& now) {
  for (std::uint8_t i = 0; i < sessions_.at(session_index).slot_count; ++i) {
    const Slot& slot = sessions_.slot(session_index, i);
    if (slot.state != SlotState::kWaiting) continue;
    if (slot.op == wire::Op::kAcquireGroup) {
      end_group(slot.claim, Status::kSessionEnded, now, true);
    } else {
      end_wait(slot.claim, Status::kSessionEnded, now, true);
    }
  }
}

void Engine::continue_ending(const ClockReading& now) {
  std::uint32_t budget = kClaimsPerTurn;
  while (ending_count_ > 0) {
    const std::uint32_t session_index = ending_[ending_count_ - 1];
    const Session& session = sessions_.at(session_index);
    while (!session.claims.empty()) {
      if (budget-- == 0) return;
      const std::uint32_t claim = locks_.last_of_session(session.claims);
      if (locks_.claim(claim).holds()) {
        give_back(claim, now);
      } else {
        end_wait(claim, Status::kSessionEnded, now, true);
      }
    }
    --ending_count_;
    forget_groups(session_index);
    sessions_.linger(session_index);
  }
}

void Engine::forget_groups(std::uint32_t session_index) {
  for (std::uint8_t i = 0; i < sessions_.at(session_index).slot_count; ++i) {
    Slot& slot = sessions_.slot(session_index, i);
    if (slot.op != wire::Op::kAcquireGroup || slot.claim == kNil) continue;
    free_group(slot.claim);
    slot.claim = kNil;
    slot.status = Status::kSessionEnded;
  }
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

}  // namespace driftlock
