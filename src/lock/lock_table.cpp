#include "src/lock/lock_table.hpp"

#define XXH_INLINE_ALL  // short keys: the call would cost more than the hash
#include <xxhash.h>

namespace driftlock {
LockTable::LockTable(const Limits& limits, std::uint32_t sessions_max,
                     std::pmr::memory_resource* memory)
    : locks_max_(limits.locks_max),
      locks_(limits.locks_max, memory),
      claims_(limits.claims_max, memory),
      crowds_(limits.claims_max, memory),
      lists_(limits.locks_max + limits.claims_max, sessions_max, memory),
      keys_(limits.long_keys_max, memory),
      index_(limits.locks_max, memory),
      hash_seed_(limits.hash_seed) {
  DRIFTLOCK_ASSERT(limits.locks_max > 0 && limits.claims_max > 0);
  DRIFTLOCK_ASSERT(std::uint64_t{limits.locks_max} + limits.claims_max < kNil);
  for (std::uint32_t i = limits.locks_max; i-- > 0;) {
    locks_[i].crowd = free_lock_;
    free_lock_ = i;
  }
  for (std::uint32_t i = limits.claims_max; i-- > 0;) {
    claims_[i].lock_next = free_claim_;
    free_claim_ = limits.locks_max + i;
    crowds_[i].next_free = free_crowd_;
    free_crowd_ = i;
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
  const std::size_t length = copy_key(lock, key);
  return hash({namespace_of(lock), {key.data(), length}});
}

// What find() will come to, without looking at the name: seldom wrong, and then only slower.
std::uint32_t LockTable::likely(std::uint64_t hash) const {
  return index_.find(hash, [](std::uint32_t) { return true; });
}

void LockTable::prefetch_lock(std::uint64_t hash, const ClaimList& of_session) const {
  const std::uint32_t found = likely(hash);
  // A lock that is not there yet will take the next free record.
  const std::uint32_t index = found != kNil ? found : free_lock_;
  if (index != kNil) __builtin_prefetch(&locks_[index], 1);
  // Where the lock is given back, the session's last claim takes its place in the list.
  const std::uint32_t last = lists_.last(of_session);
  if (last != kNil) __builtin_prefetch(&claim(last), 1);
}

void LockTable::prefetch_place(std::uint64_t hash) const {
  const std::uint32_t index = likely(hash);
  if (index != kNil && !locks_[index].first.vacant()) lists_.prefetch(locks_[index].first.place);
}

std::uint32_t LockTable::find(std::uint64_t hash, const LockName& name) const {
  return index_.find(hash,
                     [&](std::uint32_t index) { return keys_.equals(locks_[index].name, name); });
}

std::uint32_t LockTable::create(std::uint64_t hash, const LockName& name,
                                std::uint16_t permits_max) {
  if (free_lock_ == kNil) return kNil;
  const std::uint32_t index = free_lock_;
  Lock& lock = locks_[index];
  if (!keys_.put(lock.name, name)) return kNil;
  if (!index_.insert(hash, index)) {
    keys_.erase(lock.name);
    return kNil;
  }
  free_lock_ = lock.crowd;
  DRIFTLOCK_ASSERT(lock.first.vacant() && lock.permits_used == 0);
  lock.crowd = kNil;
  lock.permits_max = permits_max;
  ++locks_in_use_;
  return index;
}

void LockTable::erase(std::uint32_t index, std::uint64_t hash) {
  Lock& lock = locks_[index];
  DRIFTLOCK_ASSERT(idle(index) && lock.first.vacant());
  index_.erase(hash, index);
  keys_.erase(lock.name);
  lock.crowd = free_lock_;
  free_lock_ = index;
  --locks_in_use_;
}

void LockTable::change_permits(std::uint32_t index, std::uint16_t permits) {
  Claim& holder = claim(index);
  Lock& lock = locks_[lock_of(index)];
  const int used = lock.permits_used - holder.permits + permits;
  DRIFTLOCK_ASSERT(permits > 0 && used <= lock.permits_max);
  lock.permits_used = static_cast<std::uint16_t>(used);
  holder.permits = permits;
}

// The claim's lock has a crowd from now on.
std::uint32_t LockTable::allocate_claim(std::uint32_t lock) {
  if (free_claim_ == kNil) return kNil;
  const std::uint32_t index = free_claim_;
  PooledClaim& fresh = pooled(index);
  free_claim_ = fresh.lock_next;
  fresh.clear();
  fresh.lock = lock;
  fresh.lock_next = kNil;
  fresh.lock_previous = kNil;
  ++claims_in_use_;
  return index;
}

Crowd& LockTable::crowd_at(std::uint32_t lock) {
  std::uint32_t& crowd = locks_[lock].crowd;
  if (crowd == kNil) {
    DRIFTLOCK_ASSERT(free_crowd_ != kNil);
    crowd = free_crowd_;
    free_crowd_ = crowds_[crowd].next_free;
    crowds_[crowd] = Crowd{};
  }
  return crowds_[crowd];
}

void LockTable::forget_empty_crowd(std::uint32_t lock) {
  const std::uint32_t index = locks_[lock].crowd;
  Crowd& crowd = crowds_[index];
  if (crowd.others_head != kNil || crowd.waiters_head != kNil) return;
  locks_[lock].crowd = kNil;
  crowd.next_free = free_crowd_;
  free_crowd_ = index;
}

void LockTable::link_session(std::uint32_t index, ClaimList& of_session) {
  claim(index).place = lists_.push(of_session, index);
}

void LockTable::unlink_session(std::uint32_t index, ClaimList& of_session) {
  const std::uint32_t place = claim(index).place;
  const std::uint32_t moved = lists_.remove(of_session, place);
  if (moved != kNil) claim(moved).place = place;
}

std::uint32_t LockTable::add_holder(std::uint32_t lock_index, std::uint32_t session,
                                    ClaimList& of_session, std::uint16_t permits,
                                    std::uint64_t token) {
  Lock& lock = locks_[lock_index];
  DRIFTLOCK_ASSERT(token != 0 && (token & Claim::kWaiterBit) == 0 && permits > 0 &&
                   lock.permits_used + permits <= lock.permits_max);
  std::uint32_t index = lock_index;
  if (!lock.first.vacant()) {
    index = allocate_claim(lock_index);
    if (index == kNil) return kNil;
    link_holder(index);
  }
  Claim& holder = claim(index);
  holder.session = session;
  holder.token = token;
  holder.permits = permits;
  holder.depth = 1;
  lock.permits_used = static_cast<std::uint16_t>(lock.permits_used + permits);
  link_session(index, of_session);
  return index;
}

std::uint32_t LockTable::add_waiter(std::uint32_t lock_index, std::uint32_t session,
                                    ClaimList& of_session, std::uint16_t permits, WaitKind kind) {
  const std::uint32_t index = allocate_claim(lock_index);
  if (index == kNil) return kNil;
  Claim& waiter = claim(index);
  waiter.session = session;
  waiter.permits = permits;
  waiter.depth = static_cast<std::uint8_t>(kind);
  link_waiter(index, kind == WaitKind::kUpgrade);
  link_session(index, of_session);
  return index;
}

void LockTable::link_holder(std::uint32_t index) {
  PooledClaim& holder = pooled(index);
  Crowd& crowd = crowd_at(holder.lock);
  holder.lock_next = crowd.others_head;
  if (crowd.others_head != kNil) pooled(crowd.others_head).lock_previous = index;
  crowd.others_head = index;
}

void LockTable::link_waiter(std::uint32_t index, bool first) {
  PooledClaim& waiter = pooled(index);
  Crowd& crowd = crowd_at(waiter.lock);
  if (crowd.waiters_head == kNil) {
    waiter.token = Claim::kFirstWaiter;
    crowd.waiters_head = crowd.waiters_tail = index;
  } else if (first) {
    waiter.token = pooled(crowd.waiters_head).token - 1;
    waiter.lock_next = crowd.waiters_head;
    pooled(crowd.waiters_head).lock_previous = index;
    crowd.waiters_head = index;
  } else {
    waiter.token = pooled(crowd.waiters_tail).token + 1;
    waiter.lock_previous = crowd.waiters_tail;
    pooled(crowd.waiters_tail).lock_next = index;
    crowd.waiters_tail = index;
  }
}

void LockTable::unlink_waiter(std::uint32_t index) {
  const PooledClaim& waiter = pooled(index);
  Crowd& crowd = crowd_at(waiter.lock);
  if (waiter.lock_previous != kNil) {
    pooled(waiter.lock_previous).lock_next = waiter.lock_next;
  } else {
    crowd.waiters_head = waiter.lock_next;
  }
  if (waiter.lock_next != kNil) {
    pooled(waiter.lock_next).lock_previous = waiter.lock_previous;
  } else {
    crowd.waiters_tail = waiter.lock_previous;
  }
}

void LockTable::move_to_end(std::uint32_t waiter) {
  DRIFTLOCK_ASSERT(!claim(waiter).holds());
  unlink_waiter(waiter);
  pooled(waiter).lock_next = kNil;
  pooled(waiter).lock_previous = kNil;
  link_waiter(waiter, false);
}

void LockTable::unlink_holder(std::uint32_t index) {
  const Claim& holder = claim(index);
  Lock& lock = locks_[lock_of(index)];
  lock.permits_used = static_cast<std::uint16_t>(lock.permits_used - holder.permits);
  if (index < locks_max_) return;
  const PooledClaim& other = pooled(index);
  if (other.lock_previous != kNil) {
    pooled(other.lock_previous).lock_next = other.lock_next;
  } else {
    crowd_at(other.lock).others_head = other.lock_next;
  }
  if (other.lock_next != kNil) pooled(other.lock_next).lock_previous = other.lock_previous;
}

void LockTable::remove_claim(std::uint32_t index, ClaimList& of_session) {
  Claim& gone = claim(index);
  DRIFTLOCK_ASSERT(!gone.vacant());
  unlink_session(index, of_session);
  if (gone.holds()) {
    unlink_holder(index);
  } else {
    unlink_waiter(index);
  }
  gone.clear();
  if (index < locks_max_) return;
  forget_empty_crowd(pooled(index).lock);
  pooled(index).lock_next = free_claim_;
  free_claim_ = index;
  --claims_in_use_;
}

std::uint32_t LockTable::waiters_before(std::uint32_t index) const {
  const std::uint32_t head = first_waiter(lock_of(index));
  return static_cast<std::uint32_t>(claim(index).token - claim(head).token);
}

std::uint32_t LockTable::waiters(std::uint32_t lock) const {
  return has_waiters(lock) ? waiters_before(crowds_[locks_[lock].crowd].waiters_tail) + 1 : 0;
}

std::uint32_t LockTable::first_holder(std::uint32_t lock) const {
  return locks_[lock].first.vacant() ? others_of(lock) : lock;
}

template <typename Match>
std::uint32_t LockTable::search_holder(std::uint32_t lock, const ClaimList& of_session,
                                       Match&& match) const {
  std::uint32_t of_lock = first_holder(lock);
  if (of_lock == kNil || match(claim(of_lock))) return of_lock;
  std::uint32_t own = last_of_session(of_session);
  while (own != kNil) {
    if (lock_of(own) == lock && claim(own).holds() && match(claim(own))) return own;
    of_lock = next_holder(of_lock);
    if (of_lock == kNil) return kNil;
    if (match(claim(of_lock))) return of_lock;
    own = next_of_session(own);
  }
  return kNil;
}

std::uint32_t LockTable::holder_of(std::uint32_t lock, std::uint32_t session,
                                   const ClaimList& of_session) const {
  return search_holder(lock, of_session,
                       [&](const Claim& claim) { return claim.session == session; });
}

std::uint32_t LockTable::holder_of(std::uint32_t lock, std::uint32_t session,
                                   const ClaimList& of_session, std::uint64_t token) const {
  return search_holder(lock, of_session, [&](const Claim& claim) {
    return claim.session == session && claim.token == token;
  });
}

}  // namespace driftlock
