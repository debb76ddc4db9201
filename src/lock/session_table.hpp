// SessionTable: every client's session and its slots. Owned by one lcore; sized at construction.
//
// A session is one client's life: its lease holds all its locks. A slot remembers the last request
// that came in it and the answer, so that a repeat never acts twice (NFSv4.1, RFC 8881
// section 2.10.6). When a session ends, its record lingers for a while with its key, so that late
// requests get a signed "no session"; a lingering record is reused when a free one is wanted.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <vector>

#include "src/base/time.hpp"
#include "src/lock/lock_table.hpp"
#include "src/lock/mac.hpp"
#include "src/lock/port.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {

enum class SlotState : std::uint8_t {
  kEmpty,           // nothing came yet
  kAnswered,        // `status` is the answer
  kWaiting,         // the answer is kQueued until the claim is granted or given up
  kCancelledAhead,  // cancelled before it arrived: whatever comes with this number is kCancelled
};

struct Slot {
  std::uint32_t sequence = 0;
  std::uint32_t digest = 0;  // of the request, so that a false repeat is told from a true one
  std::uint64_t token = 0;   // of what was granted; release: clock residual, ns
  std::uint64_t value = 0;   // ticket of what was granted; release: behaviour residual, ns
  std::uint32_t claim =
      kNil;  // while waiting: the claim; of a group acquire, at any time: the group; of an acquire
             // granted: the low half of the token that an upgrade has put in its place
  wire::Op op = wire::Op::kNone;
  wire::Status status = wire::Status::kOk;
  wire::Mode mode = wire::Mode::kExclusive;
  SlotState state = SlotState::kEmpty;
};
static_assert(sizeof(Slot) == 32);

enum class SessionState : std::uint8_t {
  kFree,
  kActive,
  kDelayed,    // over; its locks stay taken until the delay it asked for has passed
  kEnding,     // over; its claims are being given back, some per turn
  kLingering,  // over and empty; keeps its key to answer with
};

// The client's clock against the node's, from the least delayed of recent requests: receive time
// minus the client's statement is offset + network delay, and the smallest of many is nearest the
// offset.
struct ClockFloor {
  Nanoseconds current_ns = kNever;   // smallest since window_start_ns
  Nanoseconds previous_ns = kNever;  // smallest of the window before
  Nanoseconds window_start_ns = kLongAgo;

  static constexpr Nanoseconds kWindowNs = 16 * kSecond;
  void record(Nanoseconds received_tai_ns, Nanoseconds client_ns) {
    if (received_tai_ns - kWindowNs > window_start_ns) {
      previous_ns = current_ns;
      current_ns = kNever;
      window_start_ns = received_tai_ns;
    }
    current_ns = std::min(current_ns, received_tai_ns - client_ns);
  }
  // Node's clock minus the client's, least network delay included; kNever where nothing was
  // recorded.
  [[nodiscard]] Nanoseconds offset_ns() const { return std::min(current_ns, previous_ns); }
};

struct alignas(64) Session {
  SecretKey key;
  std::uint64_t id = 0;  // of the record's last life too, once it is over
  Nanoseconds lease_end_ns = 0;
  ClaimList claims;  // none where the record is free or lingers: then `block` is the next such one
  SessionState state = SessionState::kFree;
  std::uint8_t slot_count = 0;
  std::uint16_t lock_delay_ms = 0;  // how long its locks outlast its lease
  Endpoint peer;                    // where pushes go: the source of the newest fresh request
  std::uint32_t term_us = 0;        // of the last renewal: what the client paces itself by
  std::uint32_t quick_term_us = 0;  // what a grant extends the lease by; never more than the other
  std::uint64_t client_id = 0;
  wire::Bytes16 client_nonce{};
  ClockFloor clock_floor;

  [[nodiscard]] Nanoseconds term_ns() const { return Nanoseconds{term_us} * kMicrosecond; }
};
static_assert(sizeof(Session) == 128);

class SessionTable {
 public:
  struct Limits {
    std::uint32_t sessions_max = 1024;
    std::uint32_t slots_per_session = 16;
  };

  SessionTable(const Limits& limits, std::uint32_t epoch, std::pmr::memory_resource* memory);

  // kNil where no record has this id, ended ones that still linger included.
  [[nodiscard]] std::uint32_t find(std::uint64_t id) const {
    const std::uint32_t index = index_of(id);
    return index < sessions_.size() && sessions_[index].id == id &&
                   sessions_[index].state != SessionState::kFree
               ? index
               : kNil;
  }
  // Where find() would look, so that a burst's sessions are fetched side by side.
  void prefetch(std::uint64_t id) const {
    const std::uint32_t index = index_of(id);
    if (index >= sessions_.size()) return;
    const auto* lines = reinterpret_cast<const std::uint8_t*>(&sessions_[index]);
    __builtin_prefetch(lines);
    __builtin_prefetch(lines + sizeof(Session) / 2);
  }
  void prefetch_slot(std::uint32_t session, std::uint8_t slot) const {
    if (slot < slots_per_session_)
      __builtin_prefetch(&slots_[session * slots_per_session_ + slot], 1);
  }

  // A record with a fresh id, active and otherwise blank; kNil where none is free.
  [[nodiscard]] std::uint32_t allocate();
  // Ended and without claims: keeps answering until its record is wanted.
  void linger(std::uint32_t session);

  [[nodiscard]] Session& at(std::uint32_t session) { return sessions_[session]; }
  [[nodiscard]] const Session& at(std::uint32_t session) const { return sessions_[session]; }
  [[nodiscard]] Slot& slot(std::uint32_t session, std::uint8_t slot) {
    return slots_[session * slots_per_session_ + slot];
  }
  [[nodiscard]] const Slot& slot(std::uint32_t session, std::uint8_t slot) const {
    return slots_[session * slots_per_session_ + slot];
  }
  [[nodiscard]] std::uint32_t slots_per_session() const {
    return static_cast<std::uint32_t>(slots_per_session_);
  }
  [[nodiscard]] std::uint32_t capacity() const {
    return static_cast<std::uint32_t>(sessions_.size());
  }
  [[nodiscard]] std::uint32_t active() const { return active_; }
  void ended() { --active_; }

  static constexpr int kIndexBits = 24;
  static constexpr std::uint32_t kSessionsMax = 1U << kIndexBits;

 private:
  // An id names one life of a record: the node's epoch (16 bits), the record's generation (24), its
  // index (24).
  static constexpr std::uint32_t index_of(std::uint64_t id) {
    return static_cast<std::uint32_t>(id & (kSessionsMax - 1));
  }

  std::pmr::vector<Session> sessions_;
  std::pmr::vector<Slot> slots_;
  std::size_t slots_per_session_;
  std::uint16_t epoch_;
  std::uint32_t free_head_ = kNil;
  std::uint32_t linger_head_ = kNil;  // oldest first
  std::uint32_t linger_tail_ = kNil;
  std::uint32_t active_ = 0;
};

}  // namespace driftlock
