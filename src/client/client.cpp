#include "src/client/client.hpp"

#include <utility>
#include <vector>

namespace driftlock {
namespace {

using client::Completion;
using client::Operation;
using client::Verdict;

constexpr Nanoseconds kSleepMax = kSecond;

std::string seconds(Nanoseconds duration_ns) {
  const Nanoseconds tenths = duration_ns / (100 * kMillisecond);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

// A call's own thread waits here for its answer.
struct Waiter {
  std::mutex mutex;
  std::condition_variable done;
  std::optional<Result<Completion>> answer;
};

}  // namespace

Lock& Lock::operator=(Lock&& other) noexcept {
  if (this == &other) return *this;
  if (client_ != nullptr) client_->release_later(*this);
  client_ = std::exchange(other.client_, nullptr);
  view_ = std::move(other.view_);
  key_ = std::move(other.key_);
  namespace_id_ = other.namespace_id_;
  token_ = other.token_;
  lease_end_ns_ = other.lease_end_ns_;
  return *this;
}

Lock::~Lock() {
  if (client_ != nullptr) client_->release_later(*this);
}

client::HolderState Lock::state() const {
  if (client_ == nullptr) return client::HolderState::kLost;
  return view_->state(client_->clock_->local_ns());
}

Nanoseconds Lock::remaining_ns() const {
  if (client_ == nullptr) return 0;
  const Nanoseconds now = client_->clock_->local_ns();
  if (view_->state(now) == client::HolderState::kLost) return 0;
  return std::max<Nanoseconds>(view_->safe_until_ns() - now, 0);
}

Client::Client(ClientOptions options, std::unique_ptr<client::Transport> transport,
               std::unique_ptr<client::LocalClock> clock)
    : options_(std::move(options)),
      transport_(std::move(transport)),
      clock_(std::move(clock)),
      core_(options_.session, options_.seed) {}

Result<std::unique_ptr<Client>> Client::connect(ClientOptions options,
                                                std::unique_ptr<client::Transport> transport,
                                                std::unique_ptr<client::LocalClock> clock) {
  std::unique_ptr<Client> client(
      new Client(std::move(options), std::move(transport), std::move(clock)));
  client->core_.open(client->clock_->read());
  client->thread_ = std::thread([raw = client.get()] { raw->run(); });
  Status opened = client->wait_until_open();
  if (!opened.ok()) return opened.error();
  return client;
}

Result<std::unique_ptr<Client>> Client::resume(ClientOptions options,
                                               const client::SavedSession& saved,
                                               std::unique_ptr<client::Transport> transport,
                                               std::unique_ptr<client::LocalClock> clock) {
  options.session.reopen = false;
  std::unique_ptr<Client> client(
      new Client(std::move(options), std::move(transport), std::move(clock)));
  client->core_.resume(saved, client->clock_->read());
  client->thread_ = std::thread([raw = client.get()] { raw->run(); });
  return client;
}

Client::~Client() {
  {
    std::unique_lock held(mutex_);
    if (thread_.joinable() && !stopping_) {
      if (core_.is_open()) {
        core_.close(clock_->read());
        transport_->wake();
        changed_.wait(held, [this] { return core_.is_closed(); });
      }
    }
  }
  stop();
}

void Client::stop() {
  {
    const std::lock_guard held(mutex_);
    stopping_ = true;
    transport_->wake();
  }
  if (thread_.joinable()) thread_.join();
}

// An open is refused or unanswered for as long as the caller is patient: both may pass.
Status Client::wait_until_open() {
  std::unique_lock held(mutex_);
  const Nanoseconds deadline = clock_->local_ns() + options_.patience_ns;
  // The I/O thread wakes at least every kSleepMax and tells of it.
  changed_.wait(held,
                [&] { return core_.is_open() || clock_->local_ns() >= deadline || stopping_; });
  if (core_.is_open()) return done();
  const std::string who = options_.node_name;
  if (const auto refusal = core_.open_refusal()) {
    return Error{who + " refuses a session: " + wire::to_string(*refusal)};
  }
  if (hint_ == wire::Status::kBadVersion) {
    return Error{who + " speaks another version of the protocol"};
  }
  if (!transport_error_.empty()) return Error{who + ": " + transport_error_};
  return Error{"no answer from " + who + " within " + seconds(options_.patience_ns) +
               ": is driftlockd running there, may UDP pass, and does it have the key of client " +
               std::to_string(options_.session.client_id) + "?"};
}

void Client::run() {
  std::array<std::uint8_t, wire::kDatagramBytesMax + 64> buffer;
  std::unique_lock held(mutex_);
  while (!stopping_) {
    const client::LocalTime now = clock_->read();
    pump(now);
    deliver(held);
    if (stopping_) break;
    const Nanoseconds until = std::min(core_.wake_at(), now.local_ns + kSleepMax);
    sleeping_until_ns_ = until;
    held.unlock();
    const Result<std::size_t> received =
        transport_->receive(buffer, std::max<Nanoseconds>(until - now.local_ns, 0));
    held.lock();
    sleeping_until_ns_ = kNever;
    if (!received.ok()) {
      transport_error_ = received.error().message;
    } else if (received.value() > 0) {
      transport_error_.clear();
      core_.receive({buffer.data(), received.value()}, clock_->read());
    }
    changed_.notify_all();
  }
}

void Client::pump(const client::LocalTime& now) {
  std::array<std::uint8_t, wire::kDatagramBytesMax> out;
  while (const std::size_t bytes = core_.next_datagram(now, out)) {
    const Status sent = transport_->send({out.data(), bytes});
    if (!sent.ok()) transport_error_ = sent.error().message;
  }
}

// Callbacks run without the lock, so that they may start further operations.
void Client::deliver(std::unique_lock<std::mutex>& held) {
  struct Completed {
    client::OperationId id;
    Callback callback;
    Result<Completion> answer;
  };
  std::vector<Completed> completed;
  std::vector<client::Event> events;
  Completion completion;
  while (core_.next_completion(completion)) {
    const auto found = callbacks_.find(completion.id);
    if (found == callbacks_.end()) continue;
    completed.push_back({completion.id, std::move(found->second), resolve(completion)});
    callbacks_.erase(found);
  }
  client::Event event;
  while (core_.next_event(event)) {
    if (event.kind == client::EventKind::kNodeHint) hint_ = event.status;
    events.push_back(event);
  }
  if (completed.empty() && events.empty()) return;
  changed_.notify_all();
  held.unlock();
  for (const client::Event& each : events) {
    if (options_.on_event) options_.on_event(each);
  }
  for (Completed& each : completed) {
    if (each.callback) each.callback(each.id, std::move(each.answer));
  }
  held.lock();
  pump(clock_->read());
}

Error Client::unanswered(const Completion& completion) const {
  if (completion.verdict == Verdict::kSessionLost) {
    return Error{"the session with " + options_.node_name +
                 " was lost; all its locks are to be taken as gone"};
  }
  const std::string reason = transport_error_.empty() ? "no answer" : transport_error_;
  return Error{reason + " from " + options_.node_name + " for " + seconds(completion.took_ns) +
               "; whether it has acted on the " + wire::to_string(completion.op) + " is not known"};
}

Result<Completion> Client::resolve(const Completion& completion) const {
  if (completion.verdict == Verdict::kAnswered) return completion;
  return unanswered(completion);
}

client::OperationId Client::start(const Operation& operation, Callback done) {
  const std::lock_guard held(mutex_);
  const client::LocalTime now = clock_->read();
  const client::OperationId id = core_.submit(operation, now);
  callbacks_.emplace(id, std::move(done));
  pump(now);
  if (core_.wake_at() < sleeping_until_ns_) transport_->wake();
  return id;
}

void Client::cancel(client::OperationId id) {
  const std::lock_guard held(mutex_);
  const client::LocalTime now = clock_->read();
  core_.cancel(id, now);
  pump(now);
  transport_->wake();
}

Result<Completion> Client::call(const Operation& operation) {
  const auto waiter = std::make_shared<Waiter>();
  start(operation, [waiter](client::OperationId, Result<Completion> answer) {
    const std::lock_guard held(waiter->mutex);
    waiter->answer.emplace(std::move(answer));
    waiter->done.notify_one();
  });
  std::unique_lock held(waiter->mutex);
  waiter->done.wait(held, [&] { return waiter->answer.has_value(); });
  return std::move(*waiter->answer);
}

Result<Operation> Client::name(wire::Op op, std::string_view key) const {
  if (key.empty() || key.size() > wire::kKeyBytesMax) {
    return Error{"a lock's key has 1 to " + std::to_string(wire::kKeyBytesMax) +
                 " bytes, this one " + std::to_string(key.size())};
  }
  Operation operation;
  operation.op = op;
  operation.name = client::LockName(options_.namespace_id, key);
  operation.patience_ns = options_.patience_ns;
  return operation;
}

Result<LockAnswer> Client::lock(std::string_view key, const LockOptions& options) {
  Result<Operation> operation = name(wire::Op::kAcquire, key);
  if (!operation.ok()) return operation.error();
  operation->mode = options.mode;
  if (options.mode == wire::Mode::kSemaphore) {
    operation->permits = options.permits;
    operation->permits_max = options.permits_max;
  }
  operation->wait_ns = options.wait_ns;
  operation->hold_ns = options.hold_ns;
  Result<Completion> completion = call(*operation);
  if (!completion.ok()) return completion.error();
  LockAnswer answer;
  answer.status = completion->reply.status;
  if (answer.status == wire::Status::kOk) answer.lock = adopt(*operation, *completion);
  return answer;
}

Lock Client::adopt(const Operation& operation, const Completion& granted) {
  Lock lock;
  lock.client_ = this;
  lock.key_ = operation.name.key();
  lock.namespace_id_ = operation.name.namespace_id;
  lock.token_ = granted.reply.token;
  lock.lease_end_ns_ = granted.reply.lease_end_ns;
  lock.view_ = granted.lock;
  return lock;
}

Result<wire::Status> Client::unlock(Lock& lock) {
  if (lock.client_ == nullptr) return wire::Status::kNotHeld;
  lock.client_ = nullptr;
  if (lock.view_->lost()) return wire::Status::kNoSession;
  return unlock(lock.key_, lock.token_);
}

Result<wire::Status> Client::unlock(std::string_view key, std::uint64_t token) {
  Result<Operation> operation = name(wire::Op::kRelease, key);
  if (!operation.ok()) return operation.error();
  operation->token = token;
  Result<Completion> completion = call(*operation);
  if (!completion.ok()) return completion.error();
  return completion->reply.status;
}

void Client::release_later(const Lock& lock) {
  if (lock.view_->lost()) return;
  Result<Operation> operation = name(wire::Op::kRelease, lock.key_);
  operation->token = lock.token_;
  start(*operation, nullptr);
}

Result<wire::Reply> Client::query(std::string_view key) {
  Result<Operation> operation = name(wire::Op::kQuery, key);
  if (!operation.ok()) return operation.error();
  Result<Completion> completion = call(*operation);
  if (!completion.ok()) return completion.error();
  return completion->reply;
}

Result<wire::Reply> Client::time() {
  Operation operation;
  operation.op = wire::Op::kTime;
  operation.patience_ns = options_.patience_ns;
  Result<Completion> completion = call(operation);
  if (!completion.ok()) return completion.error();
  return completion->reply;
}

Result<PingAnswer> Client::ping() {
  Operation operation;
  operation.op = wire::Op::kTime;
  operation.patience_ns = options_.patience_ns;
  Result<Completion> completion = call(operation);
  if (!completion.ok()) return completion.error();
  const std::lock_guard held(mutex_);
  const wire::Header& header = core_.last_header();
  PingAnswer answer;
  answer.round_trip_ns = completion->took_ns;
  answer.residence_ns = header.residence_ns;
  answer.offset_ns = core_.node_clock().offset_ns();
  answer.offset_error_ns = core_.node_clock().offset_error_ns();
  answer.stamp_source = static_cast<StampSource>(header.stamp_source);
  answer.clock_state = static_cast<ClockState>(header.clock_state);
  return answer;
}

client::SavedSession Client::detach() {
  stop();
  const std::lock_guard held(mutex_);
  return core_.save();
}

std::uint64_t Client::session_id() const {
  const std::lock_guard held(mutex_);
  return core_.session_id();
}

std::uint32_t Client::epoch() const {
  const std::lock_guard held(mutex_);
  return core_.epoch();
}

Nanoseconds Client::term_ns() const {
  const std::lock_guard held(mutex_);
  return core_.term_ns();
}

Nanoseconds Client::lease_end_ns() const {
  const std::lock_guard held(mutex_);
  return core_.lease_end_ns();
}

client::HolderState Client::session_state() const {
  const std::lock_guard held(mutex_);
  return core_.lease()->state(clock_->local_ns());
}

client::SessionCounters Client::counters() const {
  const std::lock_guard held(mutex_);
  return core_.counters();
}

}  // namespace driftlock
