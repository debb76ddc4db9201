#include "src/lock/session_table.hpp"

namespace driftlock {

SessionTable::SessionTable(const Limits& limits, std::uint32_t epoch,
                           std::pmr::memory_resource* memory)
    : sessions_(limits.sessions_max, memory),
      slots_(std::size_t{limits.sessions_max} * limits.slots_per_session, memory),
      slots_per_session_(limits.slots_per_session),
      epoch_(static_cast<std::uint16_t>(epoch)) {
  DRIFTLOCK_ASSERT(limits.sessions_max > 0 && limits.sessions_max <= kSessionsMax);
  DRIFTLOCK_ASSERT(limits.slots_per_session > 0 && limits.slots_per_session <= wire::kSlotsMax);
  for (std::uint32_t i = limits.sessions_max; i-- > 0;) {
    sessions_[i].claims.block = free_head_;
    free_head_ = i;
  }
}

std::uint32_t SessionTable::allocate() {
  std::uint32_t index = free_head_;
  if (index != kNil) {
    free_head_ = sessions_[index].claims.block;
  } else if (linger_head_ != kNil) {
    index = linger_head_;
    linger_head_ = sessions_[index].claims.block;
    if (linger_head_ == kNil) linger_tail_ = kNil;
  } else {
    return kNil;
  }
  Session& session = sessions_[index];
  const std::uint64_t generation = ((session.id >> kIndexBits) + 1) & (kSessionsMax - 1);
  session = Session{};
  session.state = SessionState::kActive;
  session.id = (std::uint64_t{epoch_} << (2 * kIndexBits)) | (generation << kIndexBits) | index;
  for (std::size_t i = 0; i < slots_per_session_; ++i) {
    slots_[index * slots_per_session_ + i] = Slot{};
  }
  ++active_;
  return index;
}

void SessionTable::linger(std::uint32_t index) {
  Session& session = sessions_[index];
  DRIFTLOCK_ASSERT(session.claims.empty());
  session.state = SessionState::kLingering;
  session.claims.block = kNil;
  if (linger_tail_ != kNil) {
    sessions_[linger_tail_].claims.block = index;
  } else {
    linger_head_ = index;
  }
  linger_tail_ = index;
}

}  // namespace driftlock
