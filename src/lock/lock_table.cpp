#include "src/lock/lock_table.hpp"

#define XXH_INLINE_ALL  // short keys: the call would cost more than the hash
#include <xxhash.h>

namespace driftlock {
LockTable::LockTable(const Limits& limits, std::pmr::memory_resource* memory)
    : locks_(limits.locks_max, memory),
      claims_(limits.claims_max, memory),
      keys_(limits.locks_max, limits.long_keys_max, memory),
      index_(limits.locks_max, memory),
      hash_seed_(limits.hash_seed) {
  DRIFTLOCK_ASSERT(limits.locks_max > 0 && limits.claims_max > 0);
  DRIFTLOCK_ASSERT(std::uint64_t{limits.locks_max} + limits.claims_max < kNil);
  for (std::uint32_t i = limits.locks_max; i-- > 0;) {
    locks_[i].next_free = free_lock_;
    free_lock_ = i;
  }
  for (std::uint32_t i = limits.claims_max; i-- > 0;) {
    claims_[i].lock_next = free_claim_;
    free_claim_ = limits.locks_max + i;
  }
}

std::uint64_t LockTable::hash(const LockName& name) const {
  // The namespace enters by the seed, times an odd constant so that it does not only touch low
  // bits.
  const std::uint64_t seed = hash_seed_ ^ (name.namespace_id * 0x9E3779B97F4A7C15ULL);
  return XXH3_64bits_withSeed(name.key.data(), name.key.size(), seed);
}

std::uint64_t LockTable::hash_of(std::uint32_t lock) const {
  std::array<std::uint8_t, wire::kKeyBytesMax> key;
  std::uint16_t namespace_id = 0;
  const std::size_t length = keys_.copy(lock, namespace_id, key);
  return hash({namespace_id, {key.data(), length}});
}

// What find() will come to, without looking at the name: wrong once in 2^32, and then only slower.
std::uint32_t LockTable::likely(std::uint64_t hash) const {
  return index_.find(upper(hash), [](std::uint32_t) { return true; });
}

void LockTable::prefetch_lock(std::uint64_t hash) const {
  const std::uint32_t found = likely(hash);
  // A lock that is not there yet will take the next free record.
  const std::uint32_t index = found != kNil ? found : free_lock_;
  if (index == kNil) return;
  __builtin_prefetch(&locks_[index]);
  keys_.prefetch(index);
}

void LockTable::prefetch_neighbours(std::uint64_t hash, std::uint32_t session_head) const {
  const std::uint32_t index = likely(hash);
  if (index == kNil || locks_[index].first.vacant()) {
    if (session_head != kNil) __builtin_prefetch(&claim(session_head));
    return;
  }
  const Claim& holder = locks_[index].first;
  if (holder.session_next != kNil) __builtin_prefetch(&claim(holder.session_next));
  if (holder.session_previous != kNil) __builtin_prefetch(&claim(holder.session_previous));
}

std::uint32_t LockTable::find(std::uint64_t hash, const LockName& name) const {
  return index_.find(upper(hash), [&](std::uint32_t index) {
    return locks_[index].hash == upper(hash) && keys_.equals(index, name);
  });
}

std::uint32_t LockTable::create(std::uint64_t hash, const LockName& name,
                                std::uint16_t permits_max) {
  if (free_lock_ == kNil) return kNil;
  const std::uint32_t index = free_lock_;
  if (!keys_.put(index, name)) return kNil;
  if (!index_.insert(upper(hash), index)) {
    keys_.erase(index);
    return kNil;
  }
  Lock& lock = locks_[index];
  free_lock_ = lock.next_free;
  DRIFTLOCK_ASSERT(lock.first.vacant() && lock.permits_used == 0 && lock.waiters_head == kNil);
  lock.hash = upper(hash);
  lock.permits_max = permits_max;
  ++locks_in_use_;
  return index;
}

bool LockTable::erase_if_idle(std::uint32_t index) {
  Lock& lock = locks_[index];
  if (lock.permits_used != 0 || lock.waiters_head != kNil) return false;
  DRIFTLOCK_ASSERT(lock.first.vacant() && lock.first.lock_next == kNil);
  index_.erase(lock.hash, index);
  keys_.erase(index);
  lock.next_free = free_lock_;
  free_lock_ = index;
  --locks_in_use_;
  return true;
}

void LockTable::change_permits(std::uint32_t index, std::uint16_t permits) {
  Claim& holder = claim(index);
  Lock& lock = locks_[holder.lock];
  const int used = lock.permits_used - holder.permits + permits;
  DRIFTLOCK_ASSERT(permits > 0 && used <= lock.permits_max);
  lock.permits_used = static_cast<std::uint16_t>(used);
  holder.permits = permits;
}

std::uint32_t LockTable::allocate_claim() {
  if (free_claim_ == kNil) return kNil;
  const std::uint32_t index = free_claim_;
  Claim& fresh = claim(index);
  free_claim_ = fresh.lock_next;
  fresh.clear();
  ++claims_in_use_;
  return index;
}

void LockTable::link_session(std::uint32_t index, std::uint32_t& session_head) {
  Claim& fresh = claim(index);
  fresh.session_previous = kNil;
  fresh.session_next = session_head;
  if (session_head != kNil) claim(session_head).session_previous = index;
  session_head = index;
}

std::uint32_t LockTable::add_holder(std::uint32_t lock_index, std::uint32_t session,
                                    std::uint32_t& session_head, std::uint16_t permits,
                                    std::uint64_t token) {
  Lock& lock = locks_[lock_index];
  DRIFTLOCK_ASSERT(token != 0 && (token & Claim::kWaiterBit) == 0 && permits > 0 &&
                   lock.permits_used + permits <= lock.permits_max);
  std::uint32_t index = lock_index;
  if (!lock.first.vacant()) {
    index = allocate_claim();
    if (index == kNil) return kNil;
    Claim& fresh = claim(index);
    fresh.lock_next = lock.first.lock_next;
    fresh.lock_previous = lock_index;
    if (lock.first.lock_next != kNil) claim(lock.first.lock_next).lock_previous = index;
    lock.first.lock_next = index;
  }
  Claim& holder = claim(index);
  holder.session = session;
  holder.lock = lock_index;
  holder.token = token;
  holder.permits = permits;
  holder.depth = 1;
  lock.permits_used = static_cast<std::uint16_t>(lock.permits_used + permits);
  link_session(index, session_head);
  return index;
}

std::uint32_t LockTable::add_waiter(std::uint32_t lock_index, std::uint32_t session,
                                    std::uint32_t& session_head, std::uint16_t permits,
                                    WaitKind kind) {
  const std::uint32_t index = allocate_claim();
  if (index == kNil) return kNil;
  Claim& waiter = claim(index);
  waiter.session = session;
  waiter.lock = lock_index;
  waiter.permits = permits;
  waiter.depth = static_cast<std::uint8_t>(kind);
  link_waiter(index, kind == WaitKind::kUpgrade);
  link_session(index, session_head);
  return index;
}

void LockTable::link_waiter(std::uint32_t index, bool first) {
  Claim& waiter = claim(index);
  Lock& lock = locks_[waiter.lock];
  if (lock.waiters_head == kNil) {
    waiter.token = Claim::kFirstWaiter;
    lock.waiters_head = lock.waiters_tail = index;
  } else if (first) {
    waiter.token = claim(lock.waiters_head).token - 1;
    waiter.lock_next = lock.waiters_head;
    claim(lock.waiters_head).lock_previous = index;
    lock.waiters_head = index;
  } else {
    waiter.token = claim(lock.waiters_tail).token + 1;
    waiter.lock_previous = lock.waiters_tail;
    claim(lock.waiters_tail).lock_next = index;
    lock.waiters_tail = index;
  }
}

void LockTable::unlink_waiter(std::uint32_t index) {
  const Claim& waiter = claim(index);
  Lock& lock = locks_[waiter.lock];
  if (waiter.lock_previous != kNil) {
    claim(waiter.lock_previous).lock_next = waiter.lock_next;
  } else {
    lock.waiters_head = waiter.lock_next;
  }
  if (waiter.lock_next != kNil) {
    claim(waiter.lock_next).lock_previous = waiter.lock_previous;
  } else {
    lock.waiters_tail = waiter.lock_previous;
  }
}

void LockTable::unlink_holder(std::uint32_t index) {
  const Claim& holder = claim(index);
  Lock& lock = locks_[holder.lock];
  lock.permits_used = static_cast<std::uint16_t>(lock.permits_used - holder.permits);
  if (index < locks_.size()) return;  // the embedded claim stays as the list's head
  claim(holder.lock_previous).lock_next = holder.lock_next;
  if (holder.lock_next != kNil) claim(holder.lock_next).lock_previous = holder.lock_previous;
}

void LockTable::remove_claim(std::uint32_t index, std::uint32_t& session_head) {
  Claim& gone = claim(index);
  DRIFTLOCK_ASSERT(!gone.vacant());
  if (gone.session_previous != kNil) {
    claim(gone.session_previous).session_next = gone.session_next;
  } else {
    session_head = gone.session_next;
  }
  if (gone.session_next != kNil) {
    claim(gone.session_next).session_previous = gone.session_previous;
  }
  if (gone.holds()) {
    unlink_holder(index);
  } else {
    unlink_waiter(index);
  }
  if (index < locks_.size()) {
    const std::uint32_t others = gone.lock_next;
    gone.clear();
    gone.lock_next = others;
    return;
  }
  gone.clear();
  gone.lock_next = free_claim_;
  free_claim_ = index;
  --claims_in_use_;
}

std::uint32_t LockTable::waiters_before(std::uint32_t index) const {
  const Claim& waiter = claim(index);
  return static_cast<std::uint32_t>(waiter.token - claim(locks_[waiter.lock].waiters_head).token);
}

std::uint32_t LockTable::waiters(std::uint32_t lock) const {
  const std::uint32_t tail = locks_[lock].waiters_tail;
  return tail == kNil ? 0 : waiters_before(tail) + 1;
}

std::uint32_t LockTable::first_holder(std::uint32_t lock) const {
  const Claim& first = locks_[lock].first;
  return first.vacant() ? std::uint32_t{first.lock_next} : lock;
}

template <typename Match>
std::uint32_t LockTable::search_holder(std::uint32_t lock, std::uint32_t session_head,
                                       Match&& match) const {
  std::uint32_t of_lock = first_holder(lock);
  std::uint32_t of_session = session_head;
  while (of_lock != kNil && of_session != kNil) {
    if (match(claim(of_lock))) return of_lock;
    const Claim& own = claim(of_session);
    if (own.lock == lock && own.holds() && match(own)) return of_session;
    of_lock = claim(of_lock).lock_next;
    of_session = own.session_next;
  }
  return kNil;
}

std::uint32_t LockTable::holder_of(std::uint32_t lock, std::uint32_t session,
                                   std::uint32_t session_head) const {
  return search_holder(lock, session_head,
                       [&](const Claim& claim) { return claim.session == session; });
}

std::uint32_t LockTable::holder_of(std::uint32_t lock, std::uint32_t session,
                                   std::uint32_t session_head, std::uint64_t token) const {
  return search_holder(lock, session_head, [&](const Claim& claim) {
    return claim.session == session && claim.token == token;
  });
}

}  // namespace driftlock
