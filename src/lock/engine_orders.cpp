// The Engine's answer to the predictor: lease terms, requests to renew, failing sessions.
#include <algorithm>

#include "src/lock/engine_internal.hpp"

namespace driftlock {
namespace {

constexpr std::uint32_t kClaimsLookedAt = 64;  // of one session, for one order or renewal
constexpr std::uint32_t kWaitersLookedAt = 8;
constexpr std::uint32_t kSuccessorsAsked = 4;

// A lower-effort datagram is the first that a full queue drops (RFC 8622).
constexpr std::uint8_t kLowerEffort = 1U << 2;

}  // namespace

OrderOutcome Engine::obey(const SessionOrder& order, const ClockReading& now) {
  OrderOutcome outcome{order.session_id, order.session, order.kind, OrderResult::kDone, 0};
  const bool known = order.session < sessions_.capacity() &&
                     sessions_.at(order.session).id == order.session_id &&
                     sessions_.at(order.session).state == SessionState::kActive;
  if (!known) {
    outcome.result = OrderResult::kNoSession;
    return outcome;
  }
  LeaseTerms& terms = terms_[order.session];
  switch (order.kind) {
    case OrderKind::kTerms:
      if (order.rehearsal) {
        outcome.result = OrderResult::kRehearsed;
        break;
      }
      terms.short_us = order.short_us == 0 ? 0 : term_us(order.short_us * kMicrosecond);
      terms.long_us = std::max(terms.short_us, term_us(order.long_us * kMicrosecond));
      break;
    case OrderKind::kAskLow:
    case OrderKind::kAskNormal:
      return ask_renewal(order);
    case OrderKind::kFail:
      outcome.result = judge_holder(order);
      if (outcome.result != OrderResult::kDone || terms.failing) break;
      terms.failing = true;
      ++failing_;
      outcome.revoked = revoke_fenced(order.session, now);
      break;
    case OrderKind::kRestore:
      restore(order.session);
      break;
  }
  return outcome;
}

// Whether the session holds a lock in a namespace whose threshold the suspicion passes, and whether
// such a one wants more than to be told.
OrderResult Engine::judge_holder(const SessionOrder& order) const {
  OrderResult result = OrderResult::kNotHolder;
  std::uint32_t budget = kClaimsLookedAt;
  for (std::uint32_t i = locks_.last_of_session(sessions_.at(order.session).claims);
       i != kNil && budget-- > 0; i = locks_.next_of_session(i)) {
    const Claim& claim = locks_.claim(i);
    if (!claim.holds()) continue;
    const NamespaceOptions& space = namespaces_.options(locks_.namespace_of(locks_.lock_of(i)));
    const bool passes =
        order.strangeness >= space.suspect_strangeness && space.prediction != PredictionMode::kOff;
    if (passes && space.prediction == PredictionMode::kAct && !order.rehearsal) {
      return OrderResult::kDone;
    }
    if (passes) result = OrderResult::kRehearsed;
    if (result == OrderResult::kNotHolder) result = OrderResult::kBelowThreshold;
  }
  return result;
}

OrderOutcome Engine::ask_renewal(const SessionOrder& order) {
  OrderOutcome outcome{order.session_id, order.session, order.kind, judge_holder(order), 0};
  if (outcome.result != OrderResult::kDone) return outcome;
  if (terms_[order.session].fixed) {  // nobody is there who would answer
    outcome.result = OrderResult::kNotHolder;
    return outcome;
  }
  const bool low = order.kind == OrderKind::kAskLow;
  queue_renewal_request(order.session, low ? kLowerEffort : 0);
  if (!low) prepare_successors(order.session);
  return outcome;
}

void Engine::queue_renewal_request(std::uint32_t session_index, std::uint8_t traffic_class) {
  queue_push({0, session_index, 0, wire::kNoSlot, wire::Op::kAskRenewal, traffic_class});
}

// Who is next in the queues of what the session holds renews now, so that the grant, when it comes,
// finds a fresh lease, or a client that is known to be silent.
void Engine::prepare_successors(std::uint32_t session_index) {
  std::uint32_t budget = kClaimsLookedAt;
  std::uint32_t asked = 0;
  for (std::uint32_t i = locks_.last_of_session(sessions_.at(session_index).claims);
       i != kNil && budget-- > 0 && asked < kSuccessorsAsked; i = locks_.next_of_session(i)) {
    if (!locks_.claim(i).holds()) continue;
    const std::uint32_t head = locks_.first_waiter(locks_.lock_of(i));
    if (head == kNil || locks_.claim(head).session == session_index) continue;
    queue_renewal_request(locks_.claim(head).session, kLowerEffort);
    ++asked;
  }
}

bool Engine::wanted_by_others(std::uint32_t session_index) const {
  std::uint32_t budget = kClaimsLookedAt;
  for (std::uint32_t i = locks_.last_of_session(sessions_.at(session_index).claims); i != kNil;
       i = locks_.next_of_session(i)) {
    if (budget-- == 0) return true;
    const Claim& claim = locks_.claim(i);
    if (!claim.holds() || locks_.has_waiters(locks_.lock_of(i))) return true;
  }
  return false;
}

std::uint32_t Engine::revoke_fenced(std::uint32_t session_index, const ClockReading& now) {
  // Serving a lock's waiters changes lists of claims, this session's too: locks are noted first.
  std::array<std::uint32_t, kClaimsLookedAt> taken;
  std::uint32_t count = 0;
  std::uint32_t budget = kClaimsLookedAt;
  for (std::uint32_t i = locks_.last_of_session(sessions_.at(session_index).claims);
       i != kNil && budget-- > 0; i = locks_.next_of_session(i)) {
    const std::uint32_t lock = locks_.lock_of(i);
    if (locks_.claim(i).holds() && locks_.has_waiters(lock)) taken[count++] = lock;
  }
  const std::uint64_t before = gauges_.revocations.read();
  for (std::uint32_t i = 0; i < count; ++i) take_from_failing(taken[i], now);
  return static_cast<std::uint32_t>(gauges_.revocations.read() - before);
}

// By the policy `fence` alone: what the lock guards refuses the old token from now on.
void Engine::take_from_failing(std::uint32_t lock, const ClockReading& now) {
  const NamespaceOptions& space = namespaces_.options(locks_.namespace_of(lock));
  if (!space.fence || space.prediction != PredictionMode::kAct ||
      may_grant(now) != wire::Status::kOk) {
    return;
  }
  bool changed = false;
  for (std::uint32_t i = locks_.first_holder(lock); i != kNil;) {
    const Claim holder = locks_.claim(i);
    const std::uint32_t next = locks_.next_holder(i);
    if (holder.depth != 0 && terms_[holder.session].failing) {
      take_from(i);
      gauges_.revocations.add();
      changed = true;
    }
    i = next;
  }
  if (changed) serve_waiters(lock, now);
}

// Not what the session itself has, nor what is promised to a group that has not got all of its
// locks.
bool Engine::may_take_over(std::uint32_t lock, std::uint32_t by_session,
                           std::uint16_t wanted) const {
  std::uint32_t left = wanted;
  for (std::uint32_t i = locks_.first_holder(lock); i != kNil; i = locks_.next_holder(i)) {
    const Claim& holder = locks_.claim(i);
    if (holder.session == by_session || holder.depth == 0) left += holder.permits;
  }
  return left <= locks_.lock(lock).permits_max;
}

// Every holder loses the lock at once; what the lock guards must refuse their tokens from now on.
void Engine::take_over(std::uint32_t lock, std::uint32_t by_session) {
  for (std::uint32_t i = locks_.first_holder(lock); i != kNil;) {
    const Claim holder = locks_.claim(i);
    const std::uint32_t next = locks_.next_holder(i);
    if (holder.session != by_session && holder.depth != 0) take_from(i);
    i = next;
  }
}

void Engine::take_from(std::uint32_t claim) {
  const Claim holder = locks_.claim(claim);
  queue_push({holder.token, holder.session, 0, wire::kNoSlot});
  if (holder.in_advance()) free_advance(claim);
  locks_.remove_claim(claim, sessions_.at(holder.session).claims);
  --holders_;
  gauges_.take_overs.add();
}

// A plain waiter whose session is failing lets another go first, who is not; it keeps waiting, at
// the end. False where nobody better is near.
bool Engine::pass_over(std::uint32_t head) {
  const Claim& first = locks_.claim(head);
  if (!terms_[first.session].failing || first.wait_kind() != WaitKind::kPlain) return false;
  std::uint32_t budget = kWaitersLookedAt;
  for (std::uint32_t i = locks_.next_waiter(head); i != kNil && budget-- > 0;
       i = locks_.next_waiter(i)) {
    if (terms_[locks_.claim(i).session].failing) continue;
    locks_.move_to_end(head);
    gauges_.passed_over.add();
    return true;
  }
  return false;
}

void Engine::restore(std::uint32_t session_index) {
  if (!terms_[session_index].failing) return;
  terms_[session_index].failing = false;
  --failing_;
}

}  // namespace driftlock
