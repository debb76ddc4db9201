#include "src/node/lock_look.hpp"

namespace driftlock {

const char* LockLook::Entry::mode(const Holder& holder) const {
  if (permits_max != kRwPermits) return "semaphore";
  return holder.permits == kRwPermits ? "exclusive" : "shared";
}

LockLook::LockLook(std::size_t locks_max, bool waiting) : waiting_(waiting) {
  entries_.reserve(locks_max);
  holders_.reserve(locks_max * kHoldersPerLock);
}

bool LockLook::run(Engine& engine, const ClockReading& now) {
  taken_at_ = now;
  cursor_ = engine.visit_locks(cursor_, kRecordsPerTurn, [&](std::uint32_t lock) {
    if (waiting_ && engine.locks().lock(lock).waiters_head == kNil) return;
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
  entry.key_length = locks.keys().copy(lock_index, entry.namespace_id, entry.key);
  entry.permits_max = lock.permits_max;
  entry.waiters = locks.waiters(lock_index);
  entry.holder_first = holders_.size();
  const auto now_us = static_cast<std::uint32_t>(now.tai.middle() / kMicrosecond);
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

}  // namespace driftlock
