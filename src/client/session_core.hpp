// SessionCore: one client's life with one node, as a pure state machine. It is told the time and
// what arrived; it says what to send, when to wake it, and what has been answered. No clock, no
// socket, no thread: the same code runs in programs and in the simulator. Owned by one thread; only
// the LeaseView it publishes is read by others.
//
// Invariants: one unanswered operation per slot; a repeat is the same record to the byte; a lock is
// said to be held only while the node's `latest` (NodeClock), or the synchronized local clock's, is
// before the end of the lease; what was said to be lost is never said to be held again.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/client/hold_times.hpp"
#include "src/client/lease_view.hpp"
#include "src/client/local_time.hpp"
#include "src/client/node_clock.hpp"
#include "src/client/nonce_source.hpp"
#include "src/client/operation.hpp"
#include "src/lock/mac.hpp"
#include "src/lock/wire.hpp"

namespace driftlock::client {

struct SessionOptions {
  std::uint64_t client_id = 0;
  SecretKey client_key;
  std::uint8_t slots = 4;     // 2 to 64: operations under way at once, one kept for renewals
  Nanoseconds term_ns = 0;    // lease term wanted; 0 = the node's default
  bool fixed_term = false;    // no other term, and nobody will answer the node's requests to renew
  double drift_bound = 1e-3;  // local clock's worst rate error, against the node's clock
  std::uint32_t lock_delay_ms = 0;  // locks stay taken so much longer if the lease runs out
  bool reopen = true;               // open a new session when one was lost
  Nanoseconds retry_first_ns = 100 * kMillisecond;  // before a round trip has been measured
  Nanoseconds retry_min_ns = 10 * kMillisecond;
  Nanoseconds retry_max_ns = 500 * kMillisecond;
  Nanoseconds queued_repeat_ns = 250 * kMillisecond;  // in case the pushed grant was lost
  Nanoseconds pause_ns = 250 * kMillisecond;          // overslept by more: a pause worth an event
};

// All that a later process needs to go on with a session, for a lock held beyond its program's
// life. Secret.
struct SavedSession {
  std::uint64_t session_id = 0;
  SecretKey key;
  std::uint32_t epoch = 0;
  Nanoseconds term_ns = 0;
  Nanoseconds lease_end_ns = 0;
  std::vector<std::uint32_t> sequences;  // last used, per slot
};

struct SessionCounters {
  std::uint64_t sent = 0;
  std::uint64_t repeated = 0;  // records sent again
  std::uint64_t received = 0;
  std::uint64_t rejected = 0;  // malformed, bad MAC, or nobody's
  std::uint64_t pauses = 0;
  std::uint64_t sessions_lost = 0;
  std::uint64_t clock_steps = 0;
  std::uint64_t renewals_asked = 0;  // by the node
};

class SessionCore {
 public:
  SessionCore(const SessionOptions& options, const SecretKey& seed);

  void open(const LocalTime& now);
  // Goes on with a saved session instead of opening one. Its lease is taken as unproven until the
  // node has answered.
  void resume(const SavedSession& saved, const LocalTime& now);
  [[nodiscard]] SavedSession save() const;
  // Ends the session; every lock is released. kClosed follows.
  void close(const LocalTime& now);

  OperationId submit(const Operation& operation, const LocalTime& now);
  // Gives up an acquire. It ends as kCancelled, or as what it was answered if that was earlier; a
  // grant that crossed the cancellation is released by the node.
  void cancel(OperationId id, const LocalTime& now);

  // The next datagram due, 0 bytes when there is none. `out` holds wire::kDatagramBytesMax.
  [[nodiscard]] std::size_t next_datagram(const LocalTime& now, std::span<std::uint8_t> out);
  void receive(std::span<const std::uint8_t> datagram, const LocalTime& now);
  // Local time by which next_datagram() wants to be called again.
  [[nodiscard]] Nanoseconds wake_at() const;
  // To be called on every wake-up, before anything else is believed.
  void observe(const LocalTime& now);

  [[nodiscard]] bool next_completion(Completion& completion);
  [[nodiscard]] bool next_event(Event& event);

  [[nodiscard]] bool is_open() const { return phase_ == Phase::kOpen; }
  [[nodiscard]] bool is_reclaiming() const { return reclaiming_ > 0; }
  [[nodiscard]] std::size_t locks_held() const { return held_.size(); }
  [[nodiscard]] bool is_closed() const { return phase_ == Phase::kIdle; }
  [[nodiscard]] bool idle() const;  // nothing asked for is unanswered
  [[nodiscard]] std::uint64_t session_id() const { return session_id_; }
  [[nodiscard]] std::uint32_t epoch() const { return epoch_; }
  [[nodiscard]] Nanoseconds term_ns() const { return term_ns_; }
  [[nodiscard]] Nanoseconds lease_end_ns() const { return lease_end_ns_; }
  // The lease of the session now open. A lock keeps the view of the session it was granted in.
  [[nodiscard]] const std::shared_ptr<LeaseView>& lease() const { return lease_; }
  [[nodiscard]] const NodeClock& node_clock() const { return node_clock_; }
  [[nodiscard]] const SessionCounters& counters() const { return counters_; }
  [[nodiscard]] const wire::Header& last_header() const { return last_header_; }
  [[nodiscard]] std::optional<wire::Status> open_refusal() const { return open_refusal_; }
  [[nodiscard]] HoldTimes& hold_times() { return hold_times_; }

 private:
  enum class Phase : std::uint8_t { kIdle, kOpening, kOpen, kClosing };

  // An operation from its assignment to a slot until its final answer.
  struct Flight {
    OperationId id = 0;  // 0 = free
    wire::Request record;
    Nanoseconds submitted_ns = 0;
    Nanoseconds first_sent_ns = kNever;
    Nanoseconds last_sent_ns = kLongAgo;
    Nanoseconds next_send_ns = 0;
    Nanoseconds give_up_ns = kNever;
    std::vector<wire::More> more;  // acquire group: the records that follow
    std::vector<GroupMember> group;
    Nanoseconds wait_ns = 0;
    Nanoseconds hold_ns = 0;
    OperationId cancels = 0;  // cancel: the acquire it gives up
    std::uint32_t tries = 0;
    bool own = false;                    // the library's: nobody waits for its completion
    bool queued = false;                 // acquire: the node has it in its queue
    bool reported = false;               // given up: its user has been told
    bool cancelling = false;             // a cancel for it is pending or under way
    bool cancelled = false;              // that cancel has been answered
    std::optional<wire::Reply> granted;  // a grant that crossed its cancel
    std::vector<wire::Grant> grants;     // acquire group
  };
  struct Slot {
    std::uint32_t sequence = 0;  // last used
    Flight flight;
  };
  struct Waiting {  // not yet in a slot
    OperationId id = 0;
    Operation operation;
    Nanoseconds submitted_ns = 0;
    OperationId cancels = 0;
    std::optional<wire::Request> ready;  // a record made beforehand: reclaim
    bool own = false;
  };
  // A lock of this session, from its grant to its release.
  struct Held {
    wire::Request record;  // the acquire
    std::uint64_t ticket = 0;
    std::uint32_t depth = 1;       // how often it was taken
    std::uint32_t depth_here = 0;  // of these, unknown to the node since its restart
    std::uint32_t releasing = 0;   // releases asked for and not answered
    Nanoseconds since_local_ns = 0;
    std::shared_ptr<LockView> view;
  };
  struct Moment {  // of sending
    Nanoseconds local_ns = 0;
    Nanoseconds tai_ns = 0;
  };
  // A datagram sent, until its answer: which records it carried, and when.
  struct Sent {
    std::uint64_t nonce = 0;  // 0 = free
    Moment moment;
    bool opens = false;
    std::array<OperationId, wire::kOpsMax> records{};
  };
  struct Opening {
    bool active = false;
    wire::Bytes16 client_nonce{};
    wire::Bytes16 cookie{};
    Nanoseconds next_send_ns = 0;
    std::uint32_t tries = 0;
  };
  static constexpr std::size_t kSentMax = 64;
  static constexpr Nanoseconds kClosePatienceNs = 2 * kSecond;
  static constexpr std::size_t kUnnumberedMax = 16;
  static constexpr std::size_t kRenamedMax = 64;
  static constexpr std::uint32_t kHintsForReopen = 2;

  // Opening (session_opening.cpp).
  void start_opening(const LocalTime& now);
  void begin_attempt();
  std::size_t write_open(const LocalTime& now, std::span<std::uint8_t> out);
  void receive_open(std::span<const std::uint8_t> datagram, const wire::Header& header,
                    const LocalTime& now);
  void refuse_open(wire::Status status, const LocalTime& now);
  void adopt(const wire::OpenReply& reply, bool reclaims, const LocalTime& now);
  void receive_hint(const wire::Header& header, const LocalTime& now);
  void lose(const LocalTime& now);
  void end_session(const LocalTime& now);
  void fail_everything(const LocalTime& now);

  // Flights (session_flight.cpp).
  void fill_slots(const LocalTime& now);
  bool assign(const Waiting& waiting, const LocalTime& now);
  [[nodiscard]] std::size_t free_slot(const Waiting& waiting) const;
  // Something with this lock is under way that has to be answered first.
  [[nodiscard]] bool must_wait_for_another(const Operation& operation) const;
  [[nodiscard]] bool fill_record(const Waiting& waiting, wire::Request& record) const;
  void plan_renewal(const LocalTime& now);
  void renew_at_once(const LocalTime& now);
  void give_up(const LocalTime& now);
  void give_up(Flight& flight, const LocalTime& now);
  void start_cancel(Flight& flight, const LocalTime& now);
  std::size_t write_due(const LocalTime& now, std::span<std::uint8_t> out);
  void mark_sent(Flight& flight, const LocalTime& now);
  [[nodiscard]] Nanoseconds retry_ns(std::uint32_t tries);
  void settle(Flight& flight, const wire::Reply& reply, const LocalTime& now);
  void settle_cancel(Flight& flight, const wire::Reply& reply, const LocalTime& now);
  void finish(Flight& flight, Verdict verdict, const wire::Reply& reply, const LocalTime& now);
  void give_back_unwanted(const Flight& flight, const wire::Reply& reply, const LocalTime& now);
  void settle_queued(Flight& flight, const LocalTime& now);
  void settle_reclaim(Flight& flight, const wire::Reply& reply, const LocalTime& now);
  [[nodiscard]] Flight* find(OperationId id);
  [[nodiscard]] std::vector<Flight*> flights();

  // Answers and the lease (session_core.cpp).
  void receive_signed(std::span<const std::uint8_t> datagram, const wire::Header& header,
                      const LocalTime& now);
  void receive_record(const std::uint8_t* record, std::size_t records, OperationId expected,
                      const LocalTime& now);

  // Locks held (session_locks.cpp).
  std::shared_ptr<LockView> note_grant(const wire::Request& record, wire::Grant grant,
                                       const LocalTime& now);
  void note_release(const wire::Request& record, wire::Status status);
  // The token under which a lock is held now that was granted under `token`: an upgrade gives it
  // another, which its holder may not have heard of yet.
  [[nodiscard]] std::uint64_t newest_name(std::uint64_t token) const;
  void note_renamed(std::uint64_t token, std::uint64_t renamed);
  void note_outcome(const Flight& flight, const wire::Reply& reply, Completion& completion,
                    const LocalTime& now);
  void note_release_sent(const wire::Request& record, const LocalTime& now);
  [[nodiscard]] Nanoseconds predicted_hold(const wire::Request& record) const;
  [[nodiscard]] bool release_here(const Operation& operation);
  void revoke(std::uint64_t token);
  [[nodiscard]] bool can_reclaim(std::uint32_t epoch, const LocalTime& now);
  void start_reclaims(const LocalTime& now);
  [[nodiscard]] static bool fill_group(const Operation& operation, Flight& flight);
  static void read_grants(const std::uint8_t* record, Flight& flight);
  void learn_from_exchange(const wire::Header& header, const Moment& sent, const LocalTime& now);
  void learn_lease(Nanoseconds lease_end_ns, Nanoseconds term_ns, const LocalTime& now);
  void extend_lease(const LocalTime& now, bool afresh = false);
  void announce(HolderState state);
  Sent& note_sent(std::uint64_t nonce, const LocalTime& now);
  [[nodiscard]] Sent* find_sent(std::uint64_t nonce);
  void complete(OperationId id, wire::Op op, Verdict verdict, Nanoseconds took_ns);
  void write_header(std::span<std::uint8_t> out, std::uint64_t signer, std::uint64_t nonce,
                    std::size_t op_count, const LocalTime& now) const;

  SessionOptions options_;
  NonceSource nonces_;
  NodeClock node_clock_;
  HoldTimes hold_times_;
  Phase phase_ = Phase::kIdle;
  Opening opening_;
  std::optional<wire::Status> open_refusal_;

  std::uint64_t session_id_ = 0;
  SecretKey session_key_;
  std::uint32_t epoch_ = 0;
  Nanoseconds term_ns_ = 0;
  Nanoseconds lease_end_ns_ = 0;
  Nanoseconds renew_at_ns_ = kNever;
  bool renewing_ = false;
  std::uint32_t hints_ = 0;  // "no such session", since the last authentic answer
  std::shared_ptr<LeaseView> lease_ = std::make_shared<LeaseView>();
  HolderState announced_ = HolderState::kLost;
  bool unproven_ = false;  // resumed, and the node has not answered yet
  Nanoseconds promised_wake_ns_ = kNever;

  std::vector<Slot> slots_;
  std::vector<Flight> unnumbered_;
  std::deque<Waiting> waiting_;
  std::array<Sent, kSentMax> sent_{};
  std::size_t sent_next_ = 0;
  OperationId last_id_ = 0;
  std::unordered_map<std::uint64_t, Held> held_;                 // by token
  std::deque<std::pair<std::uint64_t, std::uint64_t>> renamed_;  // token to token, oldest first
  std::size_t reclaiming_ = 0;  // unanswered; the lease of before counts until there are none

  std::deque<Completion> completions_;
  std::deque<Event> events_;
  SessionCounters counters_;
  wire::Header last_header_{};
};

}  // namespace driftlock::client
