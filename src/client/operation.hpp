// What a program asks of a session, and what it gets: plain values, owned by whoever holds them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/assert.hpp"
#include "src/base/time.hpp"
#include "src/client/lease_view.hpp"
#include "src/lock/wire.hpp"

namespace driftlock::client {

using OperationId = std::uint64_t;  // never reused; 0 = none

// Names a lock.
struct LockName {
  std::uint16_t namespace_id = 0;
  std::uint8_t length = 0;
  std::array<std::uint8_t, wire::kKeyBytesMax> bytes{};

  LockName() = default;
  LockName(std::uint16_t id, std::string_view key) : namespace_id(id) {
    DRIFTLOCK_ASSERT(!key.empty() && key.size() <= wire::kKeyBytesMax);
    length = static_cast<std::uint8_t>(key.size());
    std::copy(key.begin(), key.end(), bytes.begin());
  }
  [[nodiscard]] std::string key() const { return {bytes.begin(), bytes.begin() + length}; }
  friend bool operator==(const LockName&, const LockName&) = default;
};

struct GroupMember {
  LockName name;
  wire::Mode mode = wire::Mode::kExclusive;  // or shared
};

struct Operation {
  // acquire, acquire group, release, convert, query, time or probe report
  wire::Op op = wire::Op::kNone;
  LockName name;
  wire::Mode mode = wire::Mode::kExclusive;
  std::uint16_t permits = 0;  // semaphore: how many of permits_max
  std::uint16_t permits_max = 0;
  Nanoseconds wait_ns = 0;         // acquire: 0 = try
  std::uint64_t token = 0;         // release, convert
  bool take_over = false;          // acquire, in a namespace whose policy is `fence`
  wire::ProbeReport report;        // probe report; the library numbers it
  std::vector<GroupMember> group;  // acquire group: 1 to wire::kGroupKeysMax locks
  Nanoseconds hold_ns = 0;         // acquire: how long the lock will be held; 0 = as predicted
  // After this long beyond wait_ns without an answer the operation ends as kUnreachable. An acquire
  // is then cancelled in the background, so that a late grant does not stay behind.
  Nanoseconds patience_ns = 5 * kSecond;
};

enum class Verdict : std::uint8_t {
  kAnswered,     // the node's answer is in `reply`
  kUnreachable,  // no answer in time; what was asked may or may not have happened
  kSessionLost,  // the session ended first; whatever it held is gone
};

struct Completion {
  OperationId id = 0;
  wire::Op op = wire::Op::kNone;
  Verdict verdict = Verdict::kAnswered;
  alignas(8) wire::Reply reply;  // kAnswered; aligned, so that its fields may be referred to
  Nanoseconds took_ns = 0;
  std::shared_ptr<LockView> lock;  // acquire, convert: granted
  struct Granted {
    std::uint64_t token = 0;
    std::shared_ptr<LockView> lock;
  };
  std::vector<Granted> group;  // acquire group: granted, in the order of the request
};

enum class EventKind : std::uint8_t {
  kOpened,       // a session is open (again): nothing is held in it yet
  kOpenRefused,  // the node answered the open with `status`; it is tried again
  kSafe,         // renewals are answered again
  kJeopardy,     // the lease ends at `safe_until_ns` unless a renewal is answered before
  kLost,         // the session and all its locks are gone
  // The node restarted; what this client held is its again, except where kRevoked says otherwise.
  kReclaimed,
  kRevoked,       // the lock with this `token` is gone, the session is not
  kPaused,        // this program did not run for `pause_ns` although it had something to do
  kClockStepped,  // the node's clock contradicts what it said before
  kClosed,        // the session was closed, acknowledged by the node or not
  kNodeHint,      // an unauthenticated error: worth a message if nothing else arrives
};

struct Event {
  EventKind kind = EventKind::kOpened;
  wire::Status status = wire::Status::kOk;
  Nanoseconds safe_until_ns = 0;
  Nanoseconds pause_ns = 0;
  std::uint64_t token = 0;
};

}  // namespace driftlock::client
