// driftlock::Client: the blocking C++ API. One client is one session with a node; a thread of its
// own receives, repeats and renews. Every member may be called from any thread; callbacks run on
// that thread and must not block in calls of this class. A Client outlives its Locks.
//
// A Lock says what it knows, not what it hopes: still_held() is false from the moment at which the
// node might grant the lock to another, whatever this program was doing then.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "src/base/result.hpp"
#include "src/client/session_core.hpp"

namespace driftlock {

class Client;

struct ClientOptions {
  client::SessionOptions session;
  std::uint16_t namespace_id = 0;
  SecretKey seed;                         // random; a source of nonces
  Nanoseconds patience_ns = 5 * kSecond;  // without any answer, beyond what was asked to wait
  std::string node_name = "the node";     // for messages: "192.0.2.7:4780"
  std::function<void(const client::Event&)> on_event;
};

struct LockOptions {
  wire::Mode mode = wire::Mode::kExclusive;
  Nanoseconds wait_ns = 0;    // 0 = try; kNever = as long as it takes
  std::uint16_t permits = 1;  // semaphore: of permits_max
  std::uint16_t permits_max = 1;
  Nanoseconds hold_ns = 0;  // how long it will be held; 0 = as learnt from earlier holds
};

// A lock held. Released when destroyed. Movable; not to be used by two threads at once, except for
// still_held() and state().
class Lock {
 public:
  Lock() = default;
  Lock(Lock&& other) noexcept { *this = std::move(other); }
  Lock& operator=(Lock&& other) noexcept;
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock();

  [[nodiscard]] const std::string& key() const { return key_; }
  // Rises with every grant: pass it to the resource, which refuses a lower one than it has seen.
  [[nodiscard]] std::uint64_t token() const { return token_; }
  [[nodiscard]] Nanoseconds lease_end_ns() const { return lease_end_ns_; }  // TAI, at the grant
  // One clock read, no system call. Once false, never true again.
  [[nodiscard]] bool still_held() const { return state() != client::HolderState::kLost; }
  [[nodiscard]] client::HolderState state() const;
  // How long the lock is sure to be held without another renewal; 0 when it is lost.
  [[nodiscard]] Nanoseconds remaining_ns() const;
  [[nodiscard]] bool valid() const { return client_ != nullptr; }
  // Gives the object up and not the lock, which stays held for as long as its session's lease.
  void leave_held() { client_ = nullptr; }

 private:
  friend class Client;
  Client* client_ = nullptr;
  std::shared_ptr<client::LockView> view_;
  std::string key_;
  std::uint16_t namespace_id_ = 0;
  std::uint64_t token_ = 0;
  Nanoseconds lease_end_ns_ = 0;
};

// The node's answer to lock(): kOk with the lock, or why not (busy, timeout, clock_lost, ...).
struct LockAnswer {
  wire::Status status = wire::Status::kOk;
  std::optional<Lock> lock;
};

struct PingAnswer {
  Nanoseconds round_trip_ns = 0;  // the node's residence included
  Nanoseconds residence_ns = 0;
  Nanoseconds offset_ns = 0;  // this machine's system clock minus the node's
  Nanoseconds offset_error_ns = 0;
  StampSource stamp_source = StampSource::kNone;
  ClockState clock_state = ClockState::kLost;
};

class Client {
 public:
  using Completion = client::Completion;
  using Callback = std::function<void(client::OperationId, Result<Completion>)>;

  // Opens a session, waiting for up to options.patience_ns.
  [[nodiscard]] static Result<std::unique_ptr<Client>> connect(
      ClientOptions options, std::unique_ptr<client::Transport> transport,
      std::unique_ptr<client::LocalClock> clock);
  // Goes on with a session that detach() left behind.
  [[nodiscard]] static Result<std::unique_ptr<Client>> resume(
      ClientOptions options, const client::SavedSession& saved,
      std::unique_ptr<client::Transport> transport, std::unique_ptr<client::LocalClock> clock);
  // Closes the session, which releases all its locks.
  ~Client();

  [[nodiscard]] Result<LockAnswer> lock(std::string_view key, const LockOptions& options = {});
  // An answer other than kOk says that it was not held any more. An Error: unknown whether the node
  // has heard it; the lock counts as given up here in any case.
  Result<wire::Status> unlock(Lock& lock);
  Result<wire::Status> unlock(std::string_view key, std::uint64_t token);
  [[nodiscard]] Result<wire::Reply> query(std::string_view key);
  [[nodiscard]] Result<wire::Reply> time();
  [[nodiscard]] Result<PingAnswer> ping();

  // Any operation, blocking for its answer.
  [[nodiscard]] Result<Completion> call(const client::Operation& operation);
  // Without blocking: `done` gets the answer, on the client's thread. A kOk of an acquire becomes a
  // Lock by adopt().
  client::OperationId start(const client::Operation& operation, Callback done);
  void cancel(client::OperationId id);
  [[nodiscard]] Lock adopt(const client::Operation& operation, const Completion& granted);

  // Leaves the session open on the node, for resume() in another process: its locks stay held until
  // its lease ends. The Client is of no use afterwards. To be called with nothing under way.
  [[nodiscard]] client::SavedSession detach();

  [[nodiscard]] std::uint64_t session_id() const;
  [[nodiscard]] std::uint32_t epoch() const;
  [[nodiscard]] Nanoseconds term_ns() const;
  [[nodiscard]] Nanoseconds lease_end_ns() const;
  [[nodiscard]] client::HolderState session_state() const;
  [[nodiscard]] client::SessionCounters counters() const;
  [[nodiscard]] std::uint16_t namespace_id() const { return options_.namespace_id; }
  [[nodiscard]] Nanoseconds local_ns() const { return clock_->local_ns(); }

 private:
  friend class Lock;
  Client(ClientOptions options, std::unique_ptr<client::Transport> transport,
         std::unique_ptr<client::LocalClock> clock);

  void run();
  void pump(const client::LocalTime& now);  // with mutex_ held
  void deliver(std::unique_lock<std::mutex>& held);
  void stop();
  [[nodiscard]] Status wait_until_open();
  [[nodiscard]] Error unanswered(const Completion& completion) const;
  [[nodiscard]] Result<Completion> resolve(const Completion& completion) const;
  void release_later(const Lock& lock);
  [[nodiscard]] Result<client::Operation> name(wire::Op op, std::string_view key) const;

  const ClientOptions options_;
  const std::unique_ptr<client::Transport> transport_;
  const std::unique_ptr<client::LocalClock> clock_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  client::SessionCore core_;
  std::unordered_map<client::OperationId, Callback> callbacks_;
  std::string transport_error_;  // the last one; empty once something has arrived
  std::optional<wire::Status> hint_;
  Nanoseconds sleeping_until_ns_ = kNever;  // the I/O thread; kNever = it is awake
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace driftlock
