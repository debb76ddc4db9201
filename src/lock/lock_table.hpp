// LockTable: every lock that somebody holds or waits for, and the claims on it. Owned by one lcore;
// sized at construction, nothing is allocated after. It knows lists and permits; who may do what,
// and when, is the Engine's.
//
// Every mode is a count of permits. A reader-writer lock has kRwPermits of them: shared takes one,
// exclusive takes all. A semaphore of size N has N. A request fits where used + wanted <= all of
// them and nobody waits before it.
//
// A claim is a session's stake in a lock: it holds it or waits for it. The first holder's claim is
// part of the lock's own record, as is its name: one cache line is all there is of a lock that
// nobody else wants. Other claims come from a shared pool, and with the first of them the lock gets
// a Crowd, which has their lists. Claims are numbered in one space: below locks_max they are the
// embedded ones.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <vector>

#include "src/base/time.hpp"
#include "src/lock/claim_lists.hpp"
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
  std::uint64_t token = 0;  // holder: fencing token; waiter: kWaiterBit + its number in the queue
  std::uint32_t session = kNil;            // kNil: vacant
  std::uint32_t place = kNil;              // in its session's list
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
  [[nodiscard]] bool in_advance() const {
    return slot != 0 && holds();
  }
  [[nodiscard]] WaitKind wait_kind() const {
    return static_cast<WaitKind>(depth);
  }

  // Field by field: `*this = Claim{}` is built elsewhere and copied in, and the copy waits for the
  // narrow stores it was built by.
  void clear() {
    token = 0;
    session = kNil;
    place = kNil;
    predicted_release_us = 0;
    since_us = 0;
    permits = 0;
    slot = 0;
    depth = 0;
  }

  static constexpr std::uint64_t kWaiterBit = std::uint64_t{1} << 63;  // set in no token
  // Numbers start in the middle, since an upgrade goes before the first.
  static constexpr std::uint64_t kFirstWaiter = kWaiterBit + (std::uint64_t{1} << 32);
};
static_assert(sizeof(Claim) == 28);

struct [[gnu::packed, gnu::aligned(4)]] PooledClaim : Claim {
  std::uint32_t lock = kNil;
  std::uint32_t lock_next = kNil;  // among the lock's other holders, or its waiters as they came
  std::uint32_t lock_previous = kNil;
};
static_assert(sizeof(PooledClaim) == 40);

struct alignas(64) Lock {
  Claim first;                 // a holder; vacant where only others hold the lock
  std::uint32_t crowd = kNil;  // kNil: nobody but the first; of a free record: the next free one
  std::uint16_t permits_used = 0;
  std::uint16_t permits_max = 0;  // kRwPermits: a reader-writer lock; else the semaphore's size
  KeyRecord name;
};
static_assert(sizeof(Lock) == 64);

// The others at a lock.
struct Crowd {
  std::uint32_t others_head = kNil;  // holders past the first
  std::uint32_t waiters_head = kNil;
  std::uint32_t waiters_tail = kNil;
  std::uint32_t next_free = kNil;
};

class LockTable {
 public:
  struct Limits {
    std::uint32_t locks_max = 1U << 16;
    std::uint32_t claims_max = 1U << 16;     // waiters, and holders of shared locks past the first
    std::uint32_t long_keys_max = 1U << 14;  // locks whose key is longer than 24 bytes
    // Secret, so that nobody can aim keys at one bucket; the same in every life of the node, since
    // tickets are bound to the hash.
    std::uint64_t hash_seed = 0;
  };

  LockTable(const Limits& limits, std::uint32_t sessions_max, std::pmr::memory_resource* memory);

  [[nodiscard]] std::uint64_t hash(const LockName& name) const;
  [[nodiscard]] std::uint64_t hash_of(std::uint32_t lock) const;
  // Three stages of fetching what an operation will touch: the index and the head of the session's
  // list, then the lock, then its place in its holder's list.
  void prefetch_index(std::uint64_t hash, const ClaimList& of_session) const {
    index_.prefetch(hash);
    lists_.prefetch_head(of_session);
  }
  void prefetch_lock(std::uint64_t hash, const ClaimList& of_session) const;
  void prefetch_place(std::uint64_t hash) const;

  // kNil where there is no such lock.
  [[nodiscard]] std::uint32_t find(std::uint64_t hash, const LockName& name) const;
  // kNil where the table, or the pool for long keys, is full. The name must not be in the table.
  [[nodiscard]] std::uint32_t create(std::uint64_t hash, const LockName& name,
                                     std::uint16_t permits_max);
  // Nobody holds it or waits for it.
  [[nodiscard]] bool idle(std::uint32_t lock) const {
    return locks_[lock].permits_used == 0 && locks_[lock].crowd == kNil && in_use(lock);
  }
  // False once it has been forgotten.
  [[nodiscard]] bool in_use(std::uint32_t lock) const { return locks_[lock].name.length != 0; }
  // Forgets an idle lock.
  void erase(std::uint32_t lock, std::uint64_t hash);
  // A holder now has `permits` of the lock instead of what it had.
  void change_permits(std::uint32_t claim, std::uint16_t permits);

  [[nodiscard]] Lock& lock(std::uint32_t index) { return locks_[index]; }
  [[nodiscard]] const Lock& lock(std::uint32_t index) const { return locks_[index]; }
  [[nodiscard]] Claim& claim(std::uint32_t index) {
    return index < locks_max_ ? locks_[index].first : pooled(index);
  }
  [[nodiscard]] const Claim& claim(std::uint32_t index) const {
    return index < locks_max_ ? locks_[index].first : pooled(index);
  }
  [[nodiscard]] std::uint32_t lock_of(std::uint32_t claim) const {
    return claim < locks_max_ ? claim : std::uint32_t{pooled(claim).lock};
  }

  // New claims, linked to the lock and last in the session's list. The caller fills in the rest.
  // kNil where the pool of claims is used up. A token is never 0.
  [[nodiscard]] std::uint32_t add_holder(std::uint32_t lock, std::uint32_t session,
                                         ClaimList& of_session, std::uint16_t permits,
                                         std::uint64_t token);
  [[nodiscard]] std::uint32_t add_waiter(std::uint32_t lock, std::uint32_t session,
                                         ClaimList& of_session, std::uint16_t permits,
                                         WaitKind kind);
  // A waiter goes to the end of its lock's queue.
  void move_to_end(std::uint32_t waiter);
  // Unlinks and frees; a holder's permits go back to the lock. Does not erase the lock.
  void remove_claim(std::uint32_t claim, ClaimList& of_session);

  // The holder's claim of the session on `lock`, kNil if none; with a token, that very claim. Looks
  // through the lock's holders and the session's claims in step, so that the shorter list decides
  // the cost.
  [[nodiscard]] std::uint32_t holder_of(std::uint32_t lock, std::uint32_t session,
                                        const ClaimList& of_session) const;
  [[nodiscard]] std::uint32_t holder_of(std::uint32_t lock, std::uint32_t session,
                                        const ClaimList& of_session, std::uint64_t token) const;
  // A session's claims, newest first, in no order once some were removed.
  [[nodiscard]] std::uint32_t last_of_session(const ClaimList& of_session) const {
    return lists_.last(of_session);
  }
  [[nodiscard]] std::uint32_t next_of_session(std::uint32_t claim) const {
    return lists_.before(this->claim(claim).place);
  }

  [[nodiscard]] bool has_waiters(std::uint32_t lock) const { return first_waiter(lock) != kNil; }
  [[nodiscard]] std::uint32_t first_waiter(std::uint32_t lock) const {
    const std::uint32_t crowd = locks_[lock].crowd;
    return crowd == kNil ? kNil : crowds_[crowd].waiters_head;
  }
  [[nodiscard]] std::uint32_t next_waiter(std::uint32_t claim) const {
    return pooled(claim).lock_next;
  }
  [[nodiscard]] std::uint32_t first_holder(std::uint32_t lock) const;
  // Those waiting before `claim`, and all that wait: at most, since the numbers of waits given up
  // in the middle of the queue still count.
  [[nodiscard]] std::uint32_t waiters_before(std::uint32_t claim) const;
  [[nodiscard]] std::uint32_t waiters(std::uint32_t lock) const;
  [[nodiscard]] std::uint32_t next_holder(std::uint32_t claim) const {
    return claim < locks_max_ ? others_of(claim) : std::uint32_t{pooled(claim).lock_next};
  }

  [[nodiscard]] std::uint16_t namespace_of(std::uint32_t lock) const {
    return locks_[lock].name.namespace_id;
  }
  // Copies the lock's key into `key`; returns its length in bytes.
  std::size_t copy_key(std::uint32_t lock,
                       std::array<std::uint8_t, wire::kKeyBytesMax>& key) const {
    return keys_.copy(locks_[lock].name, key);
  }
  [[nodiscard]] std::uint32_t locks_in_use() const { return locks_in_use_; }
  [[nodiscard]] std::uint32_t claims_in_use() const { return claims_in_use_; }
  [[nodiscard]] std::uint32_t locks_max() const { return locks_max_; }
  [[nodiscard]] std::uint32_t claims_max() const {
    return static_cast<std::uint32_t>(claims_.size());
  }
  // What the table takes for each lock, bytes: its record, and its shares of the index and of the
  // sessions' lists.
  [[nodiscard]] double bytes_per_lock() const {
    return sizeof(Lock) + static_cast<double>(index_.bytes()) / locks_max_ +
           ClaimLists::bytes_per_claim();
  }
  // Claims of both kinds: timers and the like are indexed by claim.
  [[nodiscard]] std::uint32_t claim_index_end() const { return locks_max() + claims_max(); }

 private:
  [[nodiscard]] PooledClaim& pooled(std::uint32_t claim) { return claims_[claim - locks_max_]; }
  [[nodiscard]] const PooledClaim& pooled(std::uint32_t claim) const {
    return claims_[claim - locks_max_];
  }
  [[nodiscard]] std::uint32_t others_of(std::uint32_t lock) const {
    const std::uint32_t crowd = locks_[lock].crowd;
    return crowd == kNil ? kNil : crowds_[crowd].others_head;
  }
  [[nodiscard]] std::uint32_t likely(std::uint64_t hash) const;
  template <typename Match>
  [[nodiscard]] std::uint32_t search_holder(std::uint32_t lock, const ClaimList& of_session,
                                            Match&& match) const;
  [[nodiscard]] std::uint32_t allocate_claim(std::uint32_t lock);
  [[nodiscard]] Crowd& crowd_at(std::uint32_t lock);
  void forget_empty_crowd(std::uint32_t lock);
  void link_holder(std::uint32_t claim);
  void link_waiter(std::uint32_t claim, bool first);
  void link_session(std::uint32_t claim, ClaimList& of_session);
  void unlink_session(std::uint32_t claim, ClaimList& of_session);
  void unlink_waiter(std::uint32_t claim);
  void unlink_holder(std::uint32_t claim);

  std::uint32_t locks_max_;
  std::pmr::vector<Lock> locks_;
  std::pmr::vector<PooledClaim> claims_;
  std::pmr::vector<Crowd> crowds_;  // as many as pooled claims: each has one at least
  ClaimLists lists_;
  KeyStore keys_;
  KeyIndex index_;
  std::uint64_t hash_seed_;
  std::uint32_t free_lock_ = kNil;
  std::uint32_t free_claim_ = kNil;
  std::uint32_t free_crowd_ = kNil;
  std::uint32_t locks_in_use_ = 0;
  std::uint32_t claims_in_use_ = 0;  // of the pool
};

}  // namespace driftlock
