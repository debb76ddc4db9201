// Engine: the lock service as a pure state machine: sessions, slots, locks, leases and deadlines.
// Owned by one lcore. Packets are parsed and signed around it (fast_path.hpp); time comes in as an
// argument.
//
// What it keeps, whatever arrives:
//  - a lock's permits are never given out twice: a holder's end is its release, or the node's
//  `earliest`
//    past the lease end of its session;
//  - a slot's sequence number acts once; repeats get the same answer;
//  - tokens rise, over all locks, and across restarts by the epoch in their high bits;
//  - waiters are served in order of arrival;
//  - while the clock is LOST, nothing is granted or extended, and nothing expires.
#pragma once

#include <array>
#include <cstdint>
#include <memory_resource>
#include <vector>

#include "src/base/counter.hpp"
#include "src/base/time.hpp"
#include "src/lock/keyring.hpp"
#include "src/lock/lock_table.hpp"
#include "src/lock/session_table.hpp"
#include "src/lock/timer_wheel.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {

struct EngineOptions {
  SessionTable::Limits sessions;
  LockTable::Limits locks;
  std::uint32_t epoch = 1;  // raised at every start; below 2^23
  SecretKey node_secret;    // random at every start: signs cookies, makes session nonces
  Nanoseconds term_min_ns = 50 * kMillisecond;
  Nanoseconds term_default_ns = 5 * kSecond;
  Nanoseconds term_max_ns = 3600 * kSecond;
  // Leases of the life before may run until here: nothing fresh is granted before `earliest` is
  // past it.
  Nanoseconds ready_after_tai_ns = kLongAgo;
};

// What surrounds one request. Instants are TAI.
struct RequestContext {
  ClockReading now;                // when the burst is served
  ClockReading received;           // when the datagram arrived
  Nanoseconds client_time_ns = 0;  // the header's time_ns
  std::uint32_t client_error_ns = wire::kUnknownError;
  Endpoint peer;
};

// An answer that could not be given at once.
struct Push {
  std::uint32_t session = kNil;
  wire::Reply reply;
};

class Engine {
 public:
  Engine(const EngineOptions& options, const Keyring& keyring, std::pmr::memory_resource* memory);

  // Gives back what is due: ended sessions' claims, expired leases, passed deadlines. Bounded work
  // per call; to be called every turn of the loop.
  void advance(const ClockReading& now);

  // Sessions, for the caller to authenticate with.
  [[nodiscard]] const SessionTable& sessions() const { return sessions_; }
  [[nodiscard]] const Keyring& keyring() const { return keyring_; }

  // An open whose datagram has been verified with the client's long-term key.
  [[nodiscard]] wire::OpenReply open(std::uint64_t client_id, const SecretKey& client_key,
                                     const wire::OpenRequest& request,
                                     const RequestContext& context);

  // The key's hash where the request names a lock, 0 otherwise. Prefetches as it goes: call
  // prefetch() for a burst, then prefetch_lock() for it, then handle().
  [[nodiscard]] std::uint64_t prefetch(std::uint32_t session, const wire::Request& request) const;
  void prefetch_lock(std::uint64_t key_hash) const {
    if (key_hash != 0) locks_.prefetch_lock(key_hash);
  }
  // One request of an authenticated datagram of that session. key_hash: prefetch()'s.
  [[nodiscard]] wire::Reply handle(std::uint32_t session, const wire::Request& request,
                                   std::uint64_t key_hash, const RequestContext& context);

  // Late answers, oldest first; false where there is none.
  [[nodiscard]] bool next_push(Push& push);
  [[nodiscard]] bool has_push() const { return push_head_ != push_tail_; }

  // For the admin's questions, in slices: calls visit(lock index) for locks in use from `cursor`
  // on, looks at `records` records at most, returns the next cursor, or locks_max() when through.
  template <typename Visit>
  std::uint32_t visit_locks(std::uint32_t cursor, std::uint32_t records, Visit&& visit) const {
    const std::uint32_t end = cursor + std::min(records, locks_.locks_max() - cursor);
    for (; cursor < end; ++cursor) {
      const Lock& lock = locks_.lock(cursor);
      if (lock.permits_used != 0 || lock.waiters_head != kNil) visit(cursor);
    }
    return cursor;
  }
  [[nodiscard]] const LockTable& locks() const { return locks_; }

  // Occupancy, for any thread.
  struct Gauges {
    Counter sessions_active;
    Counter locks_in_use;
    Counter waiters;
    Counter holders;
    Counter sessions_expired;  // total: leases that ran out
    Counter grants_pushed;     // total: grants to waiters
  };
  [[nodiscard]] const Gauges& gauges() const { return gauges_; }
  [[nodiscard]] const EngineOptions& options() const { return options_; }

 private:
  using Reply = wire::Reply;
  using Request = wire::Request;

  [[nodiscard]] Reply act(std::uint32_t session, const Request& request, std::uint64_t key_hash,
                          Slot& slot, const RequestContext& context);
  void acquire(std::uint32_t session, const Request& request, std::uint64_t key_hash, Slot& slot,
               const RequestContext& context);
  void release(std::uint32_t session, const Request& request, std::uint64_t key_hash, Slot& slot,
               const RequestContext& context);
  void renew(std::uint32_t session, const Request& request, Slot& slot,
             const RequestContext& context);
  void cancel(std::uint32_t session, const Request& request, Slot& slot,
              const RequestContext& context);
  void query(const Request& request, std::uint64_t key_hash, Reply& reply) const;

  [[nodiscard]] wire::Status may_grant(const ClockReading& now) const;
  // What a request of this mode takes of how many permits; false where a field is out of its range.
  [[nodiscard]] static bool permits_of(const Request& request, std::uint16_t& wanted,
                                       std::uint16_t& size);
  void wait_for(std::uint32_t lock, std::uint32_t session, const Request& request,
                std::uint16_t permits, Slot& slot, const RequestContext& context);
  [[nodiscard]] std::uint32_t grant(std::uint32_t lock, std::uint32_t session,
                                    std::uint16_t permits, std::uint32_t predicted_release_us,
                                    Nanoseconds now_ns);
  // Takes the claim away; whoever waits behind it and now fits is granted.
  void give_back(std::uint32_t claim, const ClockReading& now);
  void serve_waiters(std::uint32_t lock, const ClockReading& now);
  // Ends a wait with `status`, pushed to the waiter unless it asked for the end itself.
  void end_wait(std::uint32_t claim, wire::Status status, const ClockReading& now, bool push);
  void extend_lease(Session& session, const RequestContext& context);
  void end_session(std::uint32_t session);
  void continue_ending(const ClockReading& now);
  void resume_stalled(const ClockReading& now);

  [[nodiscard]] Reply answer(std::uint32_t session, std::uint8_t slot_index,
                             const Slot& slot) const;
  void queue_push(std::uint32_t session, std::uint8_t slot);
  [[nodiscard]] wire::Bytes16 cookie_for(std::uint64_t client_id, const wire::Bytes16& nonce,
                                         const Endpoint& peer, Nanoseconds now_ns, int age) const;
  [[nodiscard]] wire::Bytes16 node_nonce(const Session& session) const;
  [[nodiscard]] std::uint32_t find_repeated_open(std::uint64_t client_id,
                                                 const wire::Bytes16& nonce) const;
  void update_gauges();

  EngineOptions options_;
  const Keyring& keyring_;
  SessionTable sessions_;
  LockTable locks_;
  TimerWheel session_timers_;                     // by session index: lease end
  TimerWheel wait_timers_;                        // by claim index - locks_max: end of the wait
  std::pmr::vector<Nanoseconds> wait_deadlines_;  // by the same
  struct PushRef {
    std::uint32_t session;
    std::uint32_t sequence;
    std::uint8_t slot;
  };
  std::pmr::vector<PushRef> pushes_;  // ring; each waiting claim has at most one place in it
  std::uint64_t push_head_ = 0;
  std::uint64_t push_tail_ = 0;
  std::pmr::vector<std::uint32_t> ending_;  // stack of sessions whose claims are being given back
  std::uint32_t ending_count_ = 0;
  std::pmr::vector<std::uint32_t>
      recent_opens_;            // by client nonce: where a repeated open finds its session
  std::uint32_t sweep_cursor_;  // below locks_max: grants held back are being made up for
  bool stalled_ = false;        // a grant was held back, the clock being LOST or the node not ready
  std::uint64_t next_token_;
  std::uint32_t waiters_ = 0;
  std::uint32_t holders_ = 0;
  Gauges gauges_;
};

}  // namespace driftlock
