#include "src/node/lock_look.hpp"

namespace driftlock {

const char* LockLook::Entry::mode(const Holder& holder) const {
  if (permits_max != kRwPermits) return "semaphore";
  return holder.permits == kRwPermits ? "exclusive" : "shared";
}

LockLook::LockLook(std::size_t locks_max, bool waiting) : waiting_(waiting) {
  entries_.reserve(locks_max);
  holders_.reserve(locks_max * kClaimsPerLock);
  if (waiting) waiters_.reserve(locks_max * kClaimsPerLock);
}

bool LockLook::run(Engine& engine, const ClockReading& now) {
  taken_at_ = now;
  cursor_ = engine.visit_locks(cursor_, kRecordsPerTurn, [&](std::uint32_t lock) {
    if (waiting_ && !engine.locks().has_waiters(lock)) return;
    copy(engine, lock, now);
  });
  return truncated_ || cursor_ >= engine.locks().locks_max();
}

void LockLook::copy(const Engine& engine, std::uint32_t lock_index, const ClockReading& now) {
  if (entries_.size() == entries_.capacity()) {
    truncated_ = true;
    return;
  }
  const LockTable& locks = engine.locks();
  const Lock& lock = locks.lock(lock_index);
  Entry& entry = entries_.emplace_back();
  entry.key_length = locks.copy_key(lock_index, entry.key);
  entry.namespace_id = locks.namespace_of(lock_index);
  entry.permits_max = lock.permits_max;
  entry.waiters = locks.waiters(lock_index);
  const auto now_us = static_cast<std::uint32_t>(now.tai.middle() / kMicrosecond);
  copy_holders(engine, lock_index, now_us);
  if (waiting_) copy_waiters(engine, lock_index, now_us);
}

void LockLook::copy_holders(const Engine& engine, std::uint32_t lock_index, std::uint32_t now_us) {
  const LockTable& locks = engine.locks();
  Entry& entry = entries_.back();
  entry.holder_first = holders_.size();
  for (std::uint32_t at = locks.first_holder(lock_index); at != kNil; at = locks.next_holder(at)) {
    if (holders_.size() == holders_.capacity()) {
      truncated_ = true;
      break;
    }
    const Claim& claim = locks.claim(at);
    const Session& session = engine.sessions().at(claim.session);
    holders_.push_back({.client_id = session.client_id,
                        .session_id = session.id,
                        .token = claim.token,
                        .lease_end_ns = session.lease_end_ns,
                        .held_us = now_us - claim.since_us,
                        .permits = claim.permits});
  }
  entry.holder_count = holders_.size() - entry.holder_first;
}

void LockLook::copy_waiters(const Engine& engine, std::uint32_t lock_index, std::uint32_t now_us) {
  const LockTable& locks = engine.locks();
  Entry& entry = entries_.back();
  entry.waiter_first = waiters_.size();
  std::uint32_t at = locks.first_waiter(lock_index);
  while (at != kNil) {
    if (waiters_.size() == waiters_.capacity()) {
      truncated_ = true;
      break;
    }
    const Claim& claim = locks.claim(at);
    const Session& session = engine.sessions().at(claim.session);
    waiters_.push_back({.client_id = session.client_id,
                        .session_id = session.id,
                        .waited_us = now_us - claim.since_us});
    at = locks.next_waiter(at);
  }
  entry.waiter_count = waiters_.size() - entry.waiter_first;
}

std::vector<WaitEdge> LockLook::wait_edges() const {
  std::vector<WaitEdge> edges;
  for (std::size_t lock = 0; lock < entries_.size(); ++lock) {
    const Entry& entry = entries_[lock];
    for (std::size_t i = 0; i < entry.waiter_count; ++i) {
      const Waiter& waiter = waiters_[entry.waiter_first + i];
      WaitEdge edge{.waiter = waiter.session_id,
                    .blocker = 0,
                    .lock = static_cast<std::uint32_t>(lock),
                    .waited_ms = waiter.waited_us / 1000};
      if (i > 0) {
        edge.blocker = waiters_[entry.waiter_first + i - 1].session_id;
        edges.push_back(edge);
        continue;
      }
      for (std::size_t h = 0; h < entry.holder_count; ++h) {
        edge.blocker = holders_[entry.holder_first + h].session_id;
        // Who waits for the rest of a lock that it holds itself waits for the others.
        if (edge.blocker != edge.waiter) edges.push_back(edge);
      }
    }
  }
  return edges;
}

}  // namespace driftlock
