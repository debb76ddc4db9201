// The C interface over driftlock::Client: src/client/driftlock.h says what it promises. No
// exception leaves it.
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <mutex>

#include "hw/key_file.hpp"
#include "hw/udp_transport.hpp"
#include "src/client/client.hpp"
#include "src/client/driftlock.h"

using driftlock::Client;
using driftlock::Error;
using driftlock::Lock;
using driftlock::Result;
namespace client = driftlock::client;
namespace wire = driftlock::wire;

struct driftlock_lock {
  Client* owner = nullptr;
  Lock lock;
};

// An outcome without a callback, until driftlock_next() fetches it.
struct Outcome {
  std::uint64_t operation = 0;
  int outcome = DRIFTLOCK_PENDING;
  driftlock_lock* lock = nullptr;
};

struct driftlock_client {
  std::mutex mutex;  // guards outcomes
  std::deque<Outcome> outcomes;
  int descriptor = -1;
  std::int64_t timeout_ns = 0;
  std::unique_ptr<Client> client;  // last, so that its thread ends first

  ~driftlock_client() {
    const std::unique_ptr<Client> ending = std::move(client);
    for (const Outcome& each : outcomes) delete each.lock;
    if (descriptor >= 0) close(descriptor);
  }
};

namespace {

thread_local std::string last_error;

int fail(int outcome, std::string message) {
  last_error = std::move(message);
  return outcome;
}

int event_number(client::EventKind kind) {
  switch (kind) {
    case client::EventKind::kOpened:
      return DRIFTLOCK_EVENT_OPENED;
    case client::EventKind::kSafe:
      return DRIFTLOCK_EVENT_SAFE;
    case client::EventKind::kJeopardy:
      return DRIFTLOCK_EVENT_JEOPARDY;
    case client::EventKind::kLost:
      return DRIFTLOCK_EVENT_LOST;
    case client::EventKind::kPaused:
      return DRIFTLOCK_EVENT_PAUSED;
    case client::EventKind::kReclaimed:
      return DRIFTLOCK_EVENT_RECLAIMED;
    case client::EventKind::kRevoked:
      return DRIFTLOCK_EVENT_REVOKED;
    default:
      return -1;  // of no use to a C program
  }
}

// The caller may have been built with an older, shorter structure, or a newer one.
template <typename T>
T copy_of(const T* given) {
  T copy{};
  if (given != nullptr) std::memcpy(&copy, given, std::min(given->size, sizeof(T)));
  return copy;
}

bool make_operation(const driftlock_client& owner, const char* key, std::size_t key_length,
                    const driftlock_lock_options* given, client::Operation& operation) {
  const driftlock_lock_options options = copy_of(given);
  if (key == nullptr || key_length == 0 || key_length > wire::kKeyBytesMax) {
    fail(DRIFTLOCK_INVALID, "a lock's key has 1 to 64 bytes");
    return false;
  }
  if (options.mode < DRIFTLOCK_EXCLUSIVE || options.mode > DRIFTLOCK_SEMAPHORE ||
      options.wait_ns < 0 || options.hold_ns < 0) {
    fail(DRIFTLOCK_INVALID, "lock options out of range");
    return false;
  }
  operation.op = wire::Op::kAcquire;
  operation.name = client::LockName(owner.client->namespace_id(), {key, key_length});
  operation.mode = static_cast<wire::Mode>(options.mode);
  if (operation.mode == wire::Mode::kSemaphore) {
    operation.permits = options.permits;
    operation.permits_max = options.permits_max;
  }
  operation.wait_ns = options.wait_ns;
  operation.hold_ns = options.hold_ns;
  operation.patience_ns = owner.timeout_ns;
  return true;
}

Outcome outcome_of(driftlock_client& owner, const client::Operation& operation,
                   const Result<Client::Completion>& answer) {
  Outcome outcome;
  if (!answer.ok()) {
    outcome.outcome = DRIFTLOCK_NO_ANSWER;
    return outcome;
  }
  const Client::Completion& completion = answer.value();
  outcome.operation = completion.id;
  outcome.outcome = static_cast<int>(completion.reply.status);
  if (completion.reply.status == wire::Status::kOk) {
    outcome.lock = new driftlock_lock;
    outcome.lock->owner = owner.client.get();
    outcome.lock->lock = owner.client->adopt(operation, completion);
  }
  return outcome;
}

void signal_outcome(driftlock_client& owner, const Outcome& outcome) {
  const std::lock_guard held(owner.mutex);
  owner.outcomes.push_back(outcome);
  const std::uint64_t one = 1;
  static_cast<void>(!write(owner.descriptor, &one, sizeof(one)));
}

}  // namespace

extern "C" {

const char* driftlock_last_error(void) {
  return last_error.c_str();
}

const char* driftlock_outcome_name(int outcome) {
  if (outcome == DRIFTLOCK_NO_ANSWER) return "no_answer";
  if (outcome == DRIFTLOCK_INVALID) return "invalid";
  if (outcome == DRIFTLOCK_PENDING) return "pending";
  return wire::to_string(static_cast<wire::Status>(outcome));
}

const char* driftlock_version(void) {
  return DRIFTLOCK_VERSION;
}

int driftlock_connect(const driftlock_options* given, driftlock_client** out) {
  if (given == nullptr || out == nullptr) return fail(DRIFTLOCK_INVALID, "no options, or no place");
  *out = nullptr;
  const driftlock_options options = copy_of(given);
  if (options.server == nullptr || options.key_file == nullptr) {
    return fail(DRIFTLOCK_INVALID, "server and key_file must be set");
  }
  std::optional<std::uint64_t> id;
  if (options.client_id != 0) id = options.client_id;
  const Result<driftlock::ClientKey> key = driftlock::load_client_key(options.key_file, id);
  if (!key.ok()) return fail(DRIFTLOCK_INVALID, key.error().message);
  auto made = std::make_unique<driftlock_client>();
  made->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made->descriptor < 0) return fail(DRIFTLOCK_INVALID, "no descriptor is free");
  made->timeout_ns = options.timeout_ns > 0 ? options.timeout_ns : 5 * driftlock::kSecond;
  driftlock::ClientOptions client_options;
  client_options.session.client_id = key.value().id;
  client_options.session.client_key = key.value().key;
  client_options.session.term_ns = options.term_ns;
  client_options.namespace_id = options.namespace_id;
  client_options.patience_ns = made->timeout_ns;
  client_options.on_event = [callback = options.on_event,
                             user = options.user](const client::Event& event) {
    const int number = event_number(event.kind);
    if (callback != nullptr && number >= 0) callback(user, number);
  };
  Result<std::unique_ptr<Client>> connected =
      driftlock::connect_udp(options.server, std::move(client_options));
  if (!connected.ok()) return fail(DRIFTLOCK_NO_ANSWER, connected.error().message);
  made->client = std::move(connected).value();
  *out = made.release();
  return DRIFTLOCK_OK;
}

void driftlock_disconnect(driftlock_client* owner) {
  delete owner;
}

int driftlock_acquire(driftlock_client* owner, const char* key, size_t key_length,
                      const driftlock_lock_options* given, driftlock_lock** lock) {
  *lock = nullptr;
  client::Operation operation;
  if (!make_operation(*owner, key, key_length, given, operation)) return DRIFTLOCK_INVALID;
  const Result<Client::Completion> answer = owner->client->call(operation);
  if (!answer.ok()) return fail(DRIFTLOCK_NO_ANSWER, answer.error().message);
  const Outcome outcome = outcome_of(*owner, operation, answer);
  *lock = outcome.lock;
  return outcome.outcome;
}

int driftlock_release(driftlock_lock* lock) {
  if (lock == nullptr) return DRIFTLOCK_NOT_HELD;
  const std::unique_ptr<driftlock_lock> owned(lock);
  const Result<wire::Status> answer = owned->owner->unlock(owned->lock);
  if (!answer.ok()) return fail(DRIFTLOCK_NO_ANSWER, answer.error().message);
  return static_cast<int>(answer.value());
}

uint64_t driftlock_acquire_start(driftlock_client* owner, const char* key, size_t key_length,
                                 const driftlock_lock_options* given, driftlock_lock_callback done,
                                 void* user) {
  client::Operation operation;
  if (!make_operation(*owner, key, key_length, given, operation)) return 0;
  return owner->client->start(
      operation, [owner, operation, done, user](const client::OperationId id,
                                                const Result<Client::Completion>& answer) {
        Outcome outcome = outcome_of(*owner, operation, answer);
        outcome.operation = id;
        if (done != nullptr) {
          done(user, id, outcome.outcome, outcome.lock);
        } else {
          signal_outcome(*owner, outcome);
        }
      });
}

void driftlock_acquire_cancel(driftlock_client* owner, uint64_t operation) {
  owner->client->cancel(operation);
}

int driftlock_descriptor(driftlock_client* owner) {
  return owner->descriptor;
}

int driftlock_next(driftlock_client* owner, uint64_t* operation, driftlock_lock** lock) {
  const std::lock_guard held(owner->mutex);
  if (owner->outcomes.empty()) return DRIFTLOCK_PENDING;
  const Outcome outcome = owner->outcomes.front();
  owner->outcomes.pop_front();
  if (owner->outcomes.empty()) {
    std::uint64_t count = 0;
    static_cast<void>(!read(owner->descriptor, &count, sizeof(count)));
  }
  *operation = outcome.operation;
  *lock = outcome.lock;
  return outcome.outcome;
}

int driftlock_still_held(const driftlock_lock* lock) {
  return lock->lock.still_held() ? 1 : 0;
}

int driftlock_state(const driftlock_lock* lock) {
  return static_cast<int>(lock->lock.state());
}

int64_t driftlock_remaining_ns(const driftlock_lock* lock) {
  return lock->lock.remaining_ns();
}

uint64_t driftlock_token(const driftlock_lock* lock) {
  return lock->lock.token();
}

}  // extern "C"
