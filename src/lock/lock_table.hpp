// LockTable: every lock that somebody holds or waits for, and the claims on it. Owned by one lcore;
// sized at construction, nothing is allocated after. It knows lists and permits; who may do what,
// and when, is the Engine's.
//
// Every mode is a count of permits. A reader-writer lock has kRwPermits of them: shared takes one,
// exclusive takes all. A semaphore of size N has N. A request fits where used + wanted <= all of
// them and nobody waits before it.
//
// A claim is a session's stake in a lock: it holds it or waits for it. The first holder's claim is
// part of the lock's own record (one cache line for the common case); others come from a shared
// pool. Claims are numbered in one space: below locks_max they are the embedded ones.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <vector>

#include "src/base/time.hpp"
#include "src/lock/key_index.hpp"
#include "src/lock/key_store.hpp"

namespace driftlock {

inline constexpr std::uint16_t kRwPermits = 0xFFFF;

// What a waiter waits for.
enum class WaitKind : std::uint8_t {
  kPlain,    // the lock
  kUpgrade,  // the rest of a lock that its session holds shared
  kGroup,    // the lock, as one of several
  kTry,      // the lock, if who has it in advance does not use it
};

struct [[gnu::packed, gnu::aligned(4)]] Claim {
  std::uint32_t session = kNil;  // kNil: vacant
  std::uint32_t lock = kNil;
  std::uint32_t lock_next = kNil;  // among the lock's holders, or its waiters in order of arrival
  std::uint32_t lock_previous = kNil;
  std::uint32_t session_next = kNil;
  std::uint32_t session_previous = kNil;
  std::uint64_t token = 0;  // holder: fencing token; waiter: kWaiterBit + its number in the queue
  std::uint32_t predicted_release_us = 0;  // client's clock, modulo 2^32 us; 0 = not stated
  std::uint32_t since_us = 0;              // node's clock at grant or arrival, modulo 2^32 us
  std::uint16_t permits = 0;
  // Waiter: the session slot to answer. Holder: 1 while it is granted in advance, and not known to
  // be used; predicted_release_us is then the number of its Advance.
  std::uint8_t slot = 0;
  // Holder: how often its session holds it (re-entrance); 0 = member of a group not complete yet.
  // Waiter: its WaitKind.
  std::uint8_t depth = 0;

  [[nodiscard]] bool vacant() const {
    return session == kNil;
  }
  [[nodiscard]] bool holds() const {
    return (token & kWaiterBit) == 0;
  }

  // Field by field: `*this = Claim{}` is built elsewhere and copied in, and the copy waits for the
  // narrow stores it was built by.
  void clear() {
    session = kNil;
    lock = kNil;
    lock_next = kNil;
    lock_previous = kNil;
    session_next = kNil;
    session_previous = kNil;
    token = 0;
    predicted_release_us = 0;
    since_us = 0;
    permits = 0;
    slot = 0;
    depth = 0;
  }
  [[nodiscard]] bool in_advance() const {
    return slot != 0 && holds();
  }
  [[nodiscard]] WaitKind wait_kind() const {
    return static_cast<WaitKind>(depth);
  }

  static constexpr std::uint64_t kWaiterBit = std::uint64_t{1} << 63;  // set in no token
  // Numbers start in the middle, since an upgrade goes before the first.
  static constexpr std::uint64_t kFirstWaiter = kWaiterBit + (std::uint64_t{1} << 32);
};
static_assert(sizeof(Claim) == 44);

struct alignas(64) Lock {
  std::uint32_t hash = 0;          // of the key, its upper half
  std::uint32_t next_free = kNil;  // in the list of free records
  std::uint32_t waiters_head = kNil;
  std::uint32_t waiters_tail = kNil;
  std::uint16_t permits_used = 0;
  std::uint16_t permits_max = 0;  // kRwPermits: a reader-writer lock; else the semaphore's size
  Claim first;                    // a holder; while vacant still the head of the list of the others
};
static_assert(sizeof(Lock) == 64);

class LockTable {
 public:
  struct Limits {
    std::uint32_t locks_max = 1U << 16;
    std::uint32_t claims_max = 1U << 16;     // waiters, and holders of shared locks past the first
    std::uint32_t long_keys_max = 1U << 14;  // locks whose key is longer than 28 bytes
    // Secret, so that nobody can aim keys at one bucket; the same in every life of the node, since
    // tickets are bound to the hash.
    std::uint64_t hash_seed = 0;
  };

  LockTable(const Limits& limits, std::pmr::memory_resource* memory);

  [[nodiscard]] std::uint64_t hash(const LockName& name) const;
  [[nodiscard]] std::uint64_t hash_of(std::uint32_t lock) const;
  // Three stages of fetching what an operation will touch: the index, then the lock and its name,
  // then the claims linked beside its first claim, or the head of the session's list.
  void prefetch_index(std::uint64_t hash) const { index_.prefetch(upper(hash)); }
  void prefetch_lock(std::uint64_t hash) const;
  void prefetch_neighbours(std::uint64_t hash, std::uint32_t session_head) const;

  // kNil where there is no such lock.
  [[nodiscard]] std::uint32_t find(std::uint64_t hash, const LockName& name) const;
  // kNil where the table, or the pool for long keys, is full. The name must not be in the table.
  [[nodiscard]] std::uint32_t create(std::uint64_t hash, const LockName& name,
                                     std::uint16_t permits_max);
  // Forgets the lock if nobody holds it or waits for it; true where it did.
  bool erase_if_idle(std::uint32_t lock);
  // A holder now has `permits` of the lock instead of what it had.
  void change_permits(std::uint32_t claim, std::uint16_t permits);

  [[nodiscard]] Lock& lock(std::uint32_t index) { return locks_[index]; }
  [[nodiscard]] const Lock& lock(std::uint32_t index) const { return locks_[index]; }
  [[nodiscard]] Claim& claim(std::uint32_t index) {
    return index < locks_.size() ? locks_[index].first : claims_[index - locks_.size()];
  }
  [[nodiscard]] const Claim& claim(std::uint32_t index) const {
    return index < locks_.size() ? locks_[index].first : claims_[index - locks_.size()];
  }

  // New claims, linked to the lock and to the front of the session's list, whose head is
  // `session_head`. The caller fills in the rest. kNil where the pool of claims is used up. A token
  // is never 0.
  [[nodiscard]] std::uint32_t add_holder(std::uint32_t lock, std::uint32_t session,
                                         std::uint32_t& session_head, std::uint16_t permits,
                                         std::uint64_t token);
  [[nodiscard]] std::uint32_t add_waiter(std::uint32_t lock, std::uint32_t session,
                                         std::uint32_t& session_head, std::uint16_t permits,
                                         WaitKind kind);
  // Unlinks and frees; a holder's permits go back to the lock. Does not erase the lock.
  void remove_claim(std::uint32_t claim, std::uint32_t& session_head);

  // The holder's claim of the session on `lock`, kNil if none; with a token, that very claim. Looks
  // through the lock's holders and the session's claims in step, so that the shorter list decides
  // the cost.
  [[nodiscard]] std::uint32_t holder_of(std::uint32_t lock, std::uint32_t session,
                                        std::uint32_t session_head) const;
  [[nodiscard]] std::uint32_t holder_of(std::uint32_t lock, std::uint32_t session,
                                        std::uint32_t session_head, std::uint64_t token) const;
  [[nodiscard]] std::uint32_t first_holder(std::uint32_t lock) const;
  // Those waiting before `claim`, and all that wait: at most, since the numbers of waits given up
  // in the middle of the queue still count.
  [[nodiscard]] std::uint32_t waiters_before(std::uint32_t claim) const;
  [[nodiscard]] std::uint32_t waiters(std::uint32_t lock) const;
  [[nodiscard]] std::uint32_t next_holder(std::uint32_t claim) const {
    return this->claim(claim).lock_next;
  }

  [[nodiscard]] const KeyStore& keys() const { return keys_; }
  [[nodiscard]] std::uint32_t locks_in_use() const { return locks_in_use_; }
  [[nodiscard]] std::uint32_t claims_in_use() const { return claims_in_use_; }
  [[nodiscard]] std::uint32_t locks_max() const {
    return static_cast<std::uint32_t>(locks_.size());
  }
  [[nodiscard]] std::uint32_t claims_max() const {
    return static_cast<std::uint32_t>(claims_.size());
  }
  // What the table takes for each lock, bytes: record, name, and its share of the index.
  [[nodiscard]] double bytes_per_lock() const {
    return static_cast<double>(locks_.size() * (sizeof(Lock) + KeyStore::bytes_per_lock()) +
                               index_.bytes()) /
           static_cast<double>(locks_.size());
  }
  // Claims of both kinds: timers and the like are indexed by claim.
  [[nodiscard]] std::uint32_t claim_index_end() const { return locks_max() + claims_max(); }

 private:
  [[nodiscard]] static std::uint32_t upper(std::uint64_t hash) {
    return static_cast<std::uint32_t>(hash >> 32);
  }
  [[nodiscard]] std::uint32_t likely(std::uint64_t hash) const;
  template <typename Match>
  [[nodiscard]] std::uint32_t search_holder(std::uint32_t lock, std::uint32_t session_head,
                                            Match&& match) const;
  [[nodiscard]] std::uint32_t allocate_claim();
  void link_waiter(std::uint32_t claim, bool first);
  void link_session(std::uint32_t claim, std::uint32_t& session_head);
  void unlink_waiter(std::uint32_t claim);
  void unlink_holder(std::uint32_t claim);

  std::pmr::vector<Lock> locks_;
  std::pmr::vector<Claim> claims_;
  KeyStore keys_;
  KeyIndex index_;
  std::uint64_t hash_seed_;
  std::uint32_t free_lock_ = kNil;
  std::uint32_t free_claim_ = kNil;
  std::uint32_t locks_in_use_ = 0;
  std::uint32_t claims_in_use_ = 0;  // of the pool
};

}  // namespace driftlock
