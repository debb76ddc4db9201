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
//  - while the clock is LOST, nothing is granted or extended, and nothing expires;
//  - a grant in advance is a hold like any other: nobody else has the lock until it is given back,
//    or released, or the node's `earliest` is past its end;
//  - no lease end is promised past the lease horizon, which the node keeps on disk, so that its
//  next life
//    knows when the last of them is over.
//
// In its files: engine.cpp takes a request to its operation and answers; engine_sessions.cpp has
// opening, leases and ends; engine_orders.cpp what the predictor wants of a session;
// engine_locks.cpp acquire to release, waiters; engine_cancel.cpp cancel; engine_reclaim.cpp what a
// restart leaves; engine_groups.cpp several locks; engine_advance.cpp grants in advance, and what
// is told of locks; engine_reports.cpp what probes tell.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory_resource>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "src/base/counter.hpp"
#include "src/base/time.hpp"
#include "src/lock/activity.hpp"
#include "src/lock/keyring.hpp"
#include "src/lock/lock_event.hpp"
#include "src/lock/lock_table.hpp"
#include "src/lock/namespaces.hpp"
#include "src/lock/session_order.hpp"
#include "src/lock/session_table.hpp"
#include "src/lock/time_source.hpp"
#include "src/lock/timer_wheel.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {

struct EngineOptions {
  SessionTable::Limits sessions;
  LockTable::Limits locks;
  std::uint32_t groups_max = 1024;            // group acquires whose answer is remembered
  std::uint32_t sessions_per_client_max = 0;  // 0: no limit
  std::uint32_t advances_max = 1024;          // grants in advance not known to be used
  std::uint32_t lock_events_max = 0;          // kept until they are taken; 0: nobody asks for them
  std::vector<NamespaceOptions> namespaces;
  TimeSource time_source = TimeSource::kUnstated;  // told to whoever asks for the time
  std::uint32_t epoch = 1;                         // raised at every start; below 2^23
  SecretKey node_secret;  // random at every start: signs cookies, makes session nonces
  SecretKey ticket_key;   // the same in every life of the node: signs tickets
  Nanoseconds term_min_ns = 50 * kMillisecond;
  Nanoseconds term_default_ns = 5 * kSecond;
  Nanoseconds term_max_ns = 3600 * kSecond;
  // Leases of the life before may run until here: until `earliest` is past it nothing fresh is
  // granted, and holders may reclaim what they hold.
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

// An answer that could not be given at once, a notice that a lock was taken over (kRevoked, with
// the token that is no longer good), a request to renew, a grant in advance, or its recall.
struct Push {
  std::uint32_t session = kNil;
  std::uint8_t traffic_class = 0;
  wire::Reply reply;
  std::size_t more_count = 0;  // a group's grants
  std::array<wire::More, wire::more_records(wire::kGroupKeysMax)> more;
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

  // The key's hash where the request names a lock, 0 otherwise. Fetches as it goes: call prefetch()
  // for a burst, then prefetch_lock() for it, then prefetch_place() for it, then handle().
  [[nodiscard]] std::uint64_t prefetch(std::uint32_t session, const wire::Request& request) const;
  void prefetch_lock(std::uint32_t session, std::uint64_t key_hash) const {
    if (key_hash != 0) locks_.prefetch_lock(key_hash, sessions_.at(session).claims);
  }
  void prefetch_place(std::uint64_t key_hash) const {
    if (key_hash != 0) locks_.prefetch_place(key_hash);
  }
  // One request of an authenticated datagram of that session. key_hash: prefetch()'s.
  // Its answer is written to `reply`, all of it.
  void handle(std::uint32_t session, const wire::Request& request, std::uint64_t key_hash,
              const RequestContext& context, wire::Reply& reply);

  // The same for a group acquire, whose further records `more` are read and then written.
  void handle_group(std::uint32_t session, const wire::Request& request, std::span<wire::More> more,
                    const RequestContext& context, wire::Reply& reply);

  // What the predictor wants of a session (session_order.hpp). No promise is ever broken by one: a
  // failing session's locks go to others when its lease is over, or by the policy `fence`.
  [[nodiscard]] OrderOutcome obey(const SessionOrder& order, const ClockReading& now);

  // Late answers, oldest first; false where there is none.
  [[nodiscard]] bool next_push(Push& push);
  // Grants a lock that nobody has and nobody waits for to a session that takes such grants, for
  // `term_ns` at most. False where that cannot be.
  bool grant_in_advance(std::uint64_t key_hash, const LockName& name, std::uint32_t session,
                        Nanoseconds term_ns, const ClockReading& now);
  // What happened to locks, oldest first; false where there is nothing more.
  [[nodiscard]] bool next_event(LockEvent& event);
  [[nodiscard]] const NamespaceTable& namespaces() const { return namespaces_; }
  // How long the lock that the slot waits for has been held; 0 where nothing waits there.
  [[nodiscard]] Nanoseconds held_before(std::uint32_t session, std::uint8_t slot,
                                        const ClockReading& now) const;

  [[nodiscard]] bool has_push() const { return push_head_ != push_tail_; }

  // For the admin's questions, in slices: calls visit(lock index) for locks in use from `cursor`
  // on, looks at `records` records at most, returns the next cursor, or locks_max() when through.
  template <typename Visit>
  std::uint32_t visit_locks(std::uint32_t cursor, std::uint32_t records, Visit&& visit) const {
    const std::uint32_t end = cursor + std::min(records, locks_.locks_max() - cursor);
    for (; cursor < end; ++cursor) {
      if (locks_.in_use(cursor)) visit(cursor);
    }
    return cursor;
  }
  [[nodiscard]] const LockTable& locks() const { return locks_; }

  // The lease horizon: no lease end is promised past it until it is raised.
  // What the request just handled reported of a path; once.
  [[nodiscard]] std::optional<PathReport> take_path_report() {
    return std::exchange(path_report_, std::nullopt);
  }

  // writer of the horizon: the node's state thread, once it is on disk; reader: the lcore.
  void set_lease_horizon(Nanoseconds horizon_tai_ns) {
    lease_horizon_ns_.store(horizon_tai_ns, std::memory_order_relaxed);
  }
  // The latest lease end that a client has asked for, promised or not. writer: the lcore.
  [[nodiscard]] Nanoseconds lease_end_wanted() const {
    return lease_end_wanted_ns_.load(std::memory_order_relaxed);
  }

  // Occupancy, for any thread.
  struct Gauges {
    Counter sessions_active;
    Counter locks_in_use;
    Counter waiters;
    Counter holders;
    Counter sessions_expired;   // total: leases that ran out
    Counter grants_pushed;      // total: grants to waiters
    Counter reclaims;           // total: locks taken up again after a restart
    Counter take_overs;         // total: locks taken from their holders under the policy `fence`
    Counter revocations;        // of these, from holders that failed by the predictor's word
    Counter passed_over;        // total: waiters of failing sessions that others went before
    Counter advances;           // grants in advance not known to be used
    Counter advances_made;      // total: grants in advance
    Counter advances_used;      // total: of these, used by their session
    Counter advances_crossed;   // total: of these, that met a request under way
    Counter advances_recalled;  // total: that another asked for
    Counter advances_returned;  // total: given back unused
    Counter advances_expired;   // total: run out unused
    Counter lock_events_lost;   // total
    Counter ready;              // 0 while leases of the life before may run
  };
  [[nodiscard]] const Gauges& gauges() const { return gauges_; }
  [[nodiscard]] const EngineOptions& options() const { return options_; }

 private:
  using Reply = wire::Reply;
  using Request = wire::Request;
  using Op = wire::Op;

  struct Group {
    std::uint32_t session = kNil;
    std::uint32_t next_free = kNil;
    std::uint8_t slot = 0;
    std::uint8_t count = 0;
    std::uint8_t pending = 0;  // members that still wait
    std::array<std::uint32_t, wire::kGroupKeysMax> claims{};
    std::array<wire::Grant, wire::kGroupKeysMax> grants{};
    std::array<std::uint64_t, wire::kGroupKeysMax> renamed{};  // tokens since an upgrade; 0: none
  };
  // A slot whose answer is to be pushed; or, with kNoSlot, what is said of `token`, or asked.
  struct PushRef {
    std::uint64_t token;
    std::uint32_t session;
    std::uint32_t sequence;  // advance, recall: the number of the Advance
    std::uint8_t slot;
    Op notice = Op::kNone;  // revoked; or kAdvance, kRecall, kAskRenewal
    std::uint8_t traffic_class = 0;
  };
  // A lock granted in advance, until it is known to be used or given back.
  struct Advance {
    std::uint32_t claim = kNil;  // kNil: free
    std::uint32_t next_free = kNil;
    std::uint32_t asker = kNil;          // the first session that asked meanwhile
    Nanoseconds asked_ns = 0;            // when
    Nanoseconds freed_ns = 0;            // since when nobody has it
    Nanoseconds end_ns = 0;              // TAI
    Nanoseconds recalled_ns = kLongAgo;  // kLongAgo: not
    std::uint64_t token = 0;
  };
  // The lease terms of a session, in microseconds, and what the predictor thinks of it.
  struct LeaseTerms {
    std::uint32_t wanted_us = 0;  // as the client asked, within the node's limits
    std::uint32_t short_us = 0;   // where somebody waits; 0: no order, the client's wish counts
    std::uint32_t long_us = 0;    // where nobody does
    bool fixed = false;           // the client's wish counts whatever the order
    bool failing = false;
  };

  // engine.cpp
  // Whether the request is fresh; if not, `reply` is its answer.
  [[nodiscard]] bool admit(std::uint32_t session, const Request& request, std::uint32_t digest,
                           const RequestContext& context, Reply& reply);
  void begin(std::uint32_t session, const Request& request, Slot& slot,
             const RequestContext& context);
  void answer(std::uint32_t session, std::uint8_t slot_index, const Slot& slot, Reply& reply) const;
  void query(const Request& request, std::uint64_t key_hash, Reply& reply) const;
  void queue_push(const PushRef& ref);
  void update_gauges(const ClockReading& now);

  // engine_sessions.cpp
  void renew(std::uint32_t session, const Request& request, Slot& slot,
             const RequestContext& context);
  [[nodiscard]] std::uint32_t term_us(Nanoseconds asked_ns) const;
  void extend_lease(Session& session, const RequestContext& context, std::uint32_t by_us);
  void choose_term(std::uint32_t session_index);
  void lease_passed(std::uint32_t session, const ClockReading& now);
  void end_session(std::uint32_t session, const ClockReading& now);
  void end_waits(std::uint32_t session, const ClockReading& now);
  void continue_ending(const ClockReading& now);
  void forget_groups(std::uint32_t session);
  [[nodiscard]] bool client_has_room(std::uint64_t client_id) const;
  [[nodiscard]] std::uint32_t& sessions_of(std::uint64_t client_id);
  [[nodiscard]] std::uint32_t begin_session(std::uint64_t client_id, const SecretKey& client_key,
                                            const wire::OpenRequest& request,
                                            const RequestContext& context);
  [[nodiscard]] wire::Bytes16 cookie_for(std::uint64_t client_id, const wire::Bytes16& nonce,
                                         const Endpoint& peer, Nanoseconds now_ns, int age) const;
  [[nodiscard]] wire::Bytes16 node_nonce(const Session& session) const;
  [[nodiscard]] std::uint32_t find_repeated_open(std::uint64_t client_id,
                                                 const wire::Bytes16& nonce) const;

  // engine_orders.cpp
  [[nodiscard]] OrderOutcome ask_renewal(const SessionOrder& order);
  [[nodiscard]] OrderResult judge_holder(const SessionOrder& order) const;
  [[nodiscard]] bool wanted_by_others(std::uint32_t session_index) const;
  void queue_renewal_request(std::uint32_t session_index, std::uint8_t traffic_class);
  void prepare_successors(std::uint32_t session_index);
  [[nodiscard]] std::uint32_t revoke_fenced(std::uint32_t session_index, const ClockReading& now);
  void restore(std::uint32_t session_index);

  // engine_locks.cpp
  void acquire(std::uint32_t session, const Request& request, std::uint64_t key_hash, Slot& slot,
               const RequestContext& context);
  void release(std::uint32_t session, const Request& request, std::uint64_t key_hash, Slot& slot,
               const RequestContext& context);
  void convert(std::uint32_t session, const Request& request, std::uint64_t key_hash, Slot& slot,
               const RequestContext& context);
  void cancel(std::uint32_t session, const Request& request, Slot& slot,
              const RequestContext& context);
  // What a request of this mode takes of how many permits; false where a field is out of its range.
  [[nodiscard]] static bool permits_of(const Request& request, std::uint16_t& wanted,
                                       std::uint16_t& size);
  [[nodiscard]] wire::Status may_grant(const ClockReading& now) const;
  [[nodiscard]] std::uint32_t find_or_create(std::uint64_t key_hash, const LockName& name,
                                             std::uint16_t size, wire::Status& why_not);
  // key_hash: 0 where it is not at hand.
  void forget_if_idle(std::uint32_t lock, std::uint64_t key_hash = 0);
  [[nodiscard]] wire::Status reenter(std::uint32_t claim, std::uint16_t permits);
  [[nodiscard]] std::uint32_t wait_for(std::uint32_t lock, std::uint32_t session,
                                       std::uint16_t permits, WaitKind kind, std::uint8_t slot,
                                       Nanoseconds wait_ns, std::uint32_t predicted_release_us,
                                       const ClockReading& now);
  [[nodiscard]] std::uint32_t grant(std::uint32_t lock, std::uint32_t session,
                                    std::uint16_t permits, std::uint32_t predicted_release_us,
                                    Nanoseconds now_ns);
  // Takes the claim away; whoever waits behind it and now fits is granted.
  void give_back(std::uint32_t claim, const ClockReading& now, std::uint64_t key_hash = 0);
  void rename(std::uint32_t claim);
  [[nodiscard]] static std::uint64_t held_under(const Slot& slot);
  void give_back_token(std::uint32_t session, std::uint64_t token, const ClockReading& now);
  [[nodiscard]] bool may_take_over(std::uint32_t lock, std::uint32_t by_session,
                                   std::uint16_t wanted) const;
  void take_over(std::uint32_t lock, std::uint32_t by_session);
  void take_from(std::uint32_t claim);
  void take_from_failing(std::uint32_t lock, const ClockReading& now);
  [[nodiscard]] bool pass_over(std::uint32_t head);
  void serve_waiters(std::uint32_t lock, const ClockReading& now);
  [[nodiscard]] bool head_fits(std::uint32_t lock, std::uint32_t head) const;
  void grant_head(std::uint32_t lock, std::uint32_t head, const ClockReading& now);
  // Ends a wait with `status`, pushed to the waiter unless it asked for the end itself. A member's
  // end is its group's.
  void end_wait(std::uint32_t claim, wire::Status status, const ClockReading& now, bool push);
  // The same for a wait that is no group's, and without serving those behind it.
  void end_alone(std::uint32_t claim, wire::Status status, bool push = true);
  [[nodiscard]] bool upgrades_nothing(std::uint32_t wait) const;
  void remove_wait(std::uint32_t claim);
  void resume_stalled(const ClockReading& now);
  [[nodiscard]] std::uint64_t ticket_for(std::uint64_t client_id, std::uint64_t key_hash,
                                         std::uint64_t token, std::uint16_t permits) const;
  // Token and ticket of a holder, for the answer to its client.
  [[nodiscard]] wire::Grant grant_of(std::uint32_t claim, std::uint64_t key_hash) const;

  // engine_reclaim.cpp
  void reclaim(std::uint32_t session, const Request& request, std::uint64_t key_hash, Slot& slot,
               const RequestContext& context);

  // engine_advance.cpp
  [[nodiscard]] Advance& advance_of(const Claim& holder) {
    return advances_[holder.predicted_release_us];
  }
  // The claim that the lock was granted in advance by, kNil where it was not.
  [[nodiscard]] std::uint32_t advance_on(std::uint32_t lock) const;
  // It is an ordinary hold from now on.
  void use_advance(std::uint32_t claim, LockEvent::Kind kind, Nanoseconds span_ns,
                   const ClockReading& now);
  void return_advance(std::uint32_t claim, const ClockReading& now);
  void free_advance(std::uint32_t claim);
  void recall(std::uint32_t lock, std::uint32_t asker, const ClockReading& now);
  void advance_passed(std::uint32_t index, const ClockReading& now);
  // Its own grant in advance, met by the session's request.
  void cross(std::uint32_t claim, std::uint16_t permits, std::uint32_t predicted_release_us,
             const ClockReading& now);
  void keep(std::uint32_t session, const Request& request, std::uint64_t key_hash, Slot& slot,
            const RequestContext& context);
  void give_back_unused(std::uint32_t session, const Request& request, std::uint64_t key_hash,
                        Slot& slot, const RequestContext& context);
  [[nodiscard]] std::uint32_t holder_named(std::uint32_t session, const Request& request,
                                           std::uint64_t key_hash) const;
  // Who only tried hears that the lock is in use after all.
  void end_try(std::uint32_t lock, const ClockReading& now);
  [[nodiscard]] bool write_advance(const PushRef& ref, Push& push) const;
  void tell(LockEvent::Kind kind, std::uint64_t key_hash, std::uint32_t session,
            const ClockReading& now, Nanoseconds span_ns = 0, Nanoseconds recall_ns = 0);
  void tell_granted(const Claim& waiter, std::uint64_t key_hash, const ClockReading& now);
  void tell_freed(std::uint32_t lock, const ClockReading& now);
  void tell_asked(std::uint64_t key_hash, std::uint32_t lock, std::uint32_t session,
                  const ClockReading& now);

  // engine_reports.cpp
  [[nodiscard]] wire::Status accept_report(std::uint32_t session, const wire::ProbeReport& report,
                                           const RequestContext& context);

  // engine_groups.cpp
  struct GroupMember {
    LockName name;
    std::uint64_t key_hash;
    std::uint16_t permits;
  };
  using GroupMembers = std::array<GroupMember, wire::kGroupKeysMax>;
  [[nodiscard]] bool parse_group(const Request& request, std::span<const std::uint8_t> names,
                                 GroupMembers& members) const;
  void acquire_group(std::uint32_t session, const Request& request,
                     std::span<const GroupMember> members, Slot& slot,
                     const RequestContext& context);
  [[nodiscard]] wire::Status check_group(std::uint32_t session,
                                         std::span<const GroupMember> members, bool may_wait,
                                         const ClockReading& now);
  [[nodiscard]] bool join_group(Group& group, std::uint32_t group_index, const GroupMember& member,
                                const Request& request, const RequestContext& context);
  void member_granted(std::uint32_t group, std::uint32_t wait, std::uint32_t holder);
  // Gives back what the group has and ends its waits.
  void end_group(std::uint32_t group, wire::Status status, const ClockReading& now, bool push);
  void free_group(std::uint32_t group);
  void complete_group(const Group& group, Slot& slot);
  // Returns how many records they take.
  std::size_t write_grants(const Slot& slot, std::span<wire::More> more) const;

  EngineOptions options_;
  const Keyring& keyring_;
  SessionTable sessions_;
  std::pmr::vector<LeaseTerms> terms_;  // by session index
  std::uint32_t failing_ = 0;           // sessions
  LockTable locks_;
  NamespaceTable namespaces_;
  TimerWheel session_timers_;                     // by session index: lease end
  TimerWheel wait_timers_;                        // by claim index - locks_max: end of the wait
  std::pmr::vector<Nanoseconds> wait_deadlines_;  // by the same
  std::pmr::vector<Group> groups_;
  std::uint32_t free_group_ = kNil;
  std::pmr::vector<PushRef> pushes_;  // ring; a push that finds it full is learnt by a repeat
  std::uint64_t push_head_ = 0;
  std::uint64_t push_tail_ = 0;
  std::pmr::vector<std::uint32_t> ending_;  // stack of sessions whose claims are being given back
  std::uint32_t ending_count_ = 0;
  std::pmr::vector<std::uint32_t>
      recent_opens_;  // by client nonce: a repeated open finds its session
  std::pmr::vector<std::uint32_t> client_sessions_;  // active ones, by place in the keyring
  std::pmr::vector<Advance> advances_;
  std::uint32_t free_advance_ = kNil;
  TimerWheel advance_timers_;                      // by number of the Advance
  std::pmr::vector<std::uint8_t> takes_advances_;  // by session
  std::pmr::vector<LockEvent> events_;             // ring
  std::uint64_t event_head_ = 0;
  std::uint64_t event_tail_ = 0;
  // While a lock is being given back: since when it was called back, and whether it was had in
  // advance and used.
  Nanoseconds recalled_ns_ = kLongAgo;
  bool after_used_ = false;
  std::uint32_t sweep_cursor_;  // below locks_max: grants held back are being made up for
  bool stalled_ = false;        // a grant was held back, the clock being LOST or the node not ready
  std::uint64_t next_token_;
  std::optional<PathReport> path_report_;
  std::uint32_t waiters_ = 0;
  std::uint32_t holders_ = 0;
  std::atomic<Nanoseconds> lease_horizon_ns_{kNever};
  std::atomic<Nanoseconds> lease_end_wanted_ns_{kLongAgo};
  Gauges gauges_;
};

}  // namespace driftlock
