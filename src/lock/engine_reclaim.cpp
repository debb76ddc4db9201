// The Engine after a restart: what a client still holds is taken up again, by its ticket.
#include "src/lock/engine_internal.hpp"

namespace driftlock {
namespace {

using engine_internal::kTokenCounterBits;
using engine_internal::name_of;
using engine_internal::wrapped_us;
using wire::Status;

}  // namespace

void Engine::reclaim(std::uint32_t session_index, const Request& request, std::uint64_t key_hash,
                     Slot& slot, const RequestContext& context) {
  std::uint16_t wanted = 0;
  std::uint16_t size = 0;
  if (key_hash == 0 || !permits_of(request, wanted, size)) {
    slot.status = Status::kBadRequest;
    return;
  }
  Session& session = sessions_.at(session_index);
  const std::uint64_t token = request.argument;
  const auto ticket = static_cast<std::uint64_t>(request.predicted_release_ns);
  if (ticket != ticket_for(session.client_id, key_hash, token, wanted) ||
      token >> kTokenCounterBits >= options_.epoch) {
    slot.status = Status::kDenied;
    return;
  }
  if (context.now.state == ClockState::kLost) {
    slot.status = Status::kClockLost;
    return;
  }
  if (context.now.tai.earliest > options_.ready_after_tai_ns) {
    slot.status = Status::kNotHeld;  // every lease of the life before is over, this one too
    return;
  }
  const std::uint32_t lock = find_or_create(key_hash, name_of(request), size, slot.status);
  if (lock == kNil) return;
  // A ticket outlives its lock: a client may show one of a lock that it released, and that another,
  // with a higher token, holds. The same token again is the same client with a newer session.
  for (std::uint32_t i = locks_.first_holder(lock); i != kNil;) {
    const Claim holder = locks_.claim(i);
    const std::uint32_t next = locks_.next_holder(i);
    const bool in_the_way = locks_.lock(lock).permits_used + wanted > locks_.lock(lock).permits_max;
    if (holder.token == token || (in_the_way && holder.token < token)) {
      if (holder.token != token) queue_push({holder.token, holder.session, 0, wire::kNoSlot});
      locks_.remove_claim(i, sessions_.at(holder.session).claims);
      --holders_;
    }
    i = next;
  }
  if (locks_.lock(lock).permits_used + wanted > locks_.lock(lock).permits_max) {
    slot.status = Status::kStaleToken;
    return;
  }
  const std::uint32_t claim = locks_.add_holder(lock, session_index, session.claims, wanted, token);
  if (claim == kNil) {
    slot.status = Status::kFull;
    forget_if_idle(lock);
    return;
  }
  ++holders_;
  static_cast<void>(namespaces_.admit_session(request.namespace_id, session_index));  // if it fits
  locks_.claim(claim).since_us = wrapped_us(context.now.tai.middle());
  gauges_.reclaims.add();
  slot.token = token;
  slot.value = ticket;
  extend_lease(session, context, session.quick_term_us);
}

}  // namespace driftlock
