// Protocol v1 on the wire: docs/protocol.md in C++. Fixed layout, little-endian, packed, no
// padding.
//
//   datagram = Header (48) + op_count records (96 each) + MAC (16)
//
// A reply carries as many records as its request, so that it is never longer. Every record is
// answered in its place. All instants are TAI nanoseconds, all durations nanoseconds, unless a name
// says else.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "src/base/time.hpp"

namespace driftlock::wire {

static_assert(std::endian::native == std::endian::little, "the layout is read in place");

inline constexpr std::uint32_t kMagic = 0x314B4C44;  // "DLK1" in the order of the bytes
inline constexpr std::uint8_t kVersion = 1;
inline constexpr std::uint16_t kDefaultPort = 4780;
inline constexpr std::size_t kKeyBytesMax = 64;
inline constexpr std::size_t kOpsMax =
    14;  // 48 + 14 * 96 + 16 = 1408 bytes: fits an Ethernet frame
inline constexpr std::size_t kSlotsMax = 64;
inline constexpr std::uint8_t kNoSlot = 0xFF;
inline constexpr std::uint32_t kUnknownError = 0xFFFFFFFF;

using Bytes16 = std::array<std::uint8_t, 16>;

enum class Kind : std::uint8_t {
  kRequest = 0,
  kReply = 1,
  kPush = 2,      // node to client, unasked: the late answer to a queued request, or a notice
  kError = 3,     // node to client, header only, not authenticated: a hint, never a fact
  kTransfer = 6,  // node to node, signed with the cluster's key
};

enum class Op : std::uint8_t {
  kNone = 0,
  kOpen = 1,   // begin a session (OpenRequest/OpenReply)
  kRenew = 2,  // extend the lease of the session and so of all its locks
  kAcquire = 3,
  kRelease = 4,
  kQuery = 5,          // the state of one lock; needs no slot
  kTime = 6,           // the node's clock; needs no slot
  kClose = 7,          // end the session: every lock is released, every wait ends
  kCancel = 8,         // give up the acquire sent in another slot, whether it has arrived or not
  kConvert = 9,        // change the mode of a reader-writer lock that is held
  kAcquireGroup = 10,  // several locks, all or nothing; takes several records (GroupKey)
  kReclaim = 11,       // after a restart: take up again, by its ticket, a lock that is still held
  kMore = 12,          // further bytes of the record before
  kAskRenewal = 13,    // pushed by the node: renew now, so that it knows you live
  // Push: a lock granted in advance, named by a further record. Request: it is in use; keep it.
  kAdvance = 14,
  // Push: a lock granted in advance is wanted back. Request: it is given back unused.
  kRecall = 15,
  kProbeReport = 16,  // what a client host's probe has seen of one session (ProbeReport)
};
inline constexpr std::size_t kOpCount = 17;

enum class Mode : std::uint8_t { kExclusive = 0, kShared = 1, kSemaphore = 2 };

enum class Status : std::uint8_t {
  kOk = 0,
  kQueued = 1,      // acquire: waiting; the grant will be pushed
  kBusy = 2,        // acquire (try): held by others
  kTimeout = 3,     // acquire: the wait's deadline passed
  kNotHeld = 4,     // release: this session does not hold the lock
  kStaleToken = 5,  // release: held, under another token
  kNoSession = 6,   // no such session (it ended, or the node restarted)
  kFull = 7,        // a table of the node is full
  kBadRequest = 8,  // a field is out of its range
  kBadVersion = 9,
  kCookie = 10,         // open: repeat with this cookie
  kClockLost = 11,      // the node does not know what time it is: nothing new is granted
  kStaleSequence = 12,  // older than the slot's last request, whose answer is gone
  kMisordered = 13,     // skips ahead of the slot's next sequence number
  kFalseRepeat = 14,    // repeats a sequence number with another request
  kCancelled = 15,      // acquire: cancelled
  kSessionEnded = 16,   // wait: the session ended while the request was queued
  kDenied = 17,         // this client may not do that
  kModeConflict = 18,   // acquire: the lock lives in a mode or size that does not fit the request
  kNotReady = 19,  // after a restart: old leases may still be alive, nothing new is granted yet
  kRevoked = 20,   // notice: the lock was given to another under a higher token
  kDeadlock = 21,  // convert: another holder waits for the same upgrade already
  kQuota = 22,     // the namespace's or the client's share is used up
};
inline constexpr std::size_t kStatusCount = 23;

// Header of every datagram, 48 bytes.
struct [[gnu::packed, gnu::may_alias]] Header {
  std::uint32_t magic = kMagic;
  std::uint8_t version = kVersion;
  Kind kind = Kind::kRequest;
  std::uint16_t length = 0;      // of the whole datagram, MAC included, bytes
  std::uint64_t session_id = 0;  // in an open: the client's id, whose key signs it
  std::uint64_t nonce = 0;       // chosen by the client, repeated in the reply
  std::int64_t time_ns = 0;  // request: the client's clock; reply: the node's at receipt (middle)
  std::uint32_t residence_ns = 0;          // reply: from receipt to sending; request: 0
  std::uint32_t error_ns = kUnknownError;  // half width of the hard bound on time_ns
  std::uint8_t clock_state = 0;            // ClockState of the sender
  std::uint8_t stamp_source = 0;           // reply: StampSource of time_ns
  std::uint8_t op_count = 0;               // records that follow
  std::uint8_t status = 0;                 // kError: a Status; else 0
  std::uint32_t epoch = 0;  // reply: the node's epoch; request: the last one the client saw
};
static_assert(sizeof(Header) == 48 && std::is_trivially_copyable_v<Header>);

// One operation asked for, 96 bytes.
struct [[gnu::packed]] Request {
  Op op = Op::kNone;
  std::uint8_t flags = 0;        // acquire: kTakeOver; release, advance: kUsedInAdvance
  std::uint8_t slot = kNoSlot;   // session slot, or kNoSlot for query and time
  Mode mode = Mode::kExclusive;  // acquire
  std::uint32_t sequence = 0;    // the slot's last sequence number + 1; a repeat keeps its own
  std::uint16_t namespace_id = 0;
  std::uint8_t key_length = 0;  // 1 to 64 where the operation names a lock
  std::uint8_t other_slot = 0;  // cancel: slot of the acquire given up; group: records that follow
  std::uint16_t permits = 0;    // semaphore: how many; group: number of keys, 1 to kGroupKeysMax
  std::uint16_t permits_max = 0;  // acquire, semaphore: size N of the semaphore
  // acquire, group: wait, ns (0 = try). release, convert, reclaim: token. renew: term wanted, ns (0
  // = as it was). cancel: sequence of the acquire given up.
  std::uint64_t argument = 0;
  // acquire, group: the client's clock at release, as it expects (0 = not stated). release: the
  // client's clock now. convert: wait, ns (0 = try). reclaim: the ticket.
  std::int64_t predicted_release_ns = 0;
  std::array<std::uint8_t, kKeyBytesMax> key{};  // bytes past key_length are 0

  // kUsedInAdvance: from the arrival of the grant in advance to its use, us; in the place of
  // permits and permits_max.
  [[nodiscard]] std::uint32_t used_after_us() const {
    return permits | std::uint32_t{permits_max} << 16;
  }
  void set_used_after_us(std::uint32_t us) {
    permits = static_cast<std::uint16_t>(us);
    permits_max = static_cast<std::uint16_t>(us >> 16);
  }
  [[nodiscard]] std::span<const std::uint8_t> key_bytes() const {
    return {key.data(), key_length <= kKeyBytesMax ? key_length : kKeyBytesMax};
  }
};
static_assert(sizeof(Request) == 96 && std::is_trivially_copyable_v<Request>);

// Acquire: take the lock from its holders at once, under a higher token. Only in a namespace whose
// policy is `fence`, where whatever the lock guards checks tokens.
inline constexpr std::uint8_t kTakeOver = 1;
// Release and advance: the lock was granted in advance and taken without asking; `used_after_us` is
// stated.
inline constexpr std::uint8_t kUsedInAdvance = 2;
// Open: locks may be granted to this session in advance.
inline constexpr std::uint8_t kTakesAdvances = 1;

// The answer to one operation, 96 bytes.
struct [[gnu::packed, gnu::may_alias]] Reply {
  Op op = Op::kNone;
  Status status = Status::kOk;
  std::uint8_t slot = kNoSlot;
  Mode mode = Mode::kExclusive;
  std::uint32_t sequence = 0;
  std::uint64_t token = 0;        // acquire: fencing token; query: of the newest holder
  std::int64_t lease_end_ns = 0;  // acquire, renew: stop when your `latest` reaches it
  std::int64_t term_ns = 0;   // acquire, renew: the lease's term, counted from sending by a client
                              // whose clock is not synchronized
  std::uint32_t holders = 0;  // query, busy; time: a TimeSource
  std::uint32_t waiters = 0;  // query: queue's length; queued: those ahead
  std::int64_t earliest_ns = 0;  // time: hard bound at receipt
  std::int64_t latest_ns = 0;
  std::uint64_t sigma_ns = 0;              // time: statistical, one standard deviation
  std::int64_t clock_residual_ns = 0;      // release: client's clock against the node's
  std::int64_t behaviour_residual_ns = 0;  // release: held longer (+) or shorter than predicted
  std::uint64_t ticket = 0;  // acquire, reclaim: what proves the grant to the node's next life
  std::uint32_t wait_forecast_us = 0;  // queued: how long the wait is expected to take; 0 = unknown
  std::array<std::uint8_t, 4> reserved{};
};
static_assert(sizeof(Reply) == 96 && std::is_trivially_copyable_v<Reply>);

// kOpen's record. The datagram is signed with the client's long-term key, both ways. The first open
// has a zero cookie and is answered kCookie without any state kept; the second repeats it with the
// cookie.
struct [[gnu::packed]] OpenRequest {
  Op op = Op::kOpen;
  std::uint8_t flags = 0;  // kTakesAdvances, kFixedTerm
  std::uint8_t slots = 1;  // wanted, 1 to kSlotsMax
  std::uint8_t reserved0 = 0;
  // If the session ends by its lease, its locks stay taken so much longer; kLockDelayMsMax at most.
  std::uint32_t lock_delay_ms = 0;
  Bytes16 client_nonce{};  // random; the same in every repeat of this open
  Bytes16 cookie{};
  std::int64_t term_ns = 0;  // lease term wanted; 0 = the node's default
  std::array<std::uint8_t, 48> reserved{};
};
static_assert(sizeof(OpenRequest) == sizeof(Request));

// Open: the term is as asked, no shorter and no longer, and nobody will answer kAskRenewal: for a
// lock that is held beyond its program's life.
inline constexpr std::uint8_t kFixedTerm = 2;

struct [[gnu::packed]] OpenReply {
  Op op = Op::kOpen;
  Status status = Status::kOk;
  std::uint8_t slots = 0;  // granted
  std::uint8_t reserved0 = 0;
  std::uint32_t reserved1 = 0;
  std::uint64_t session_id = 0;
  Bytes16 node_nonce{};  // with client_nonce and session_id it yields the session's key
  Bytes16 cookie{};
  std::int64_t term_ns = 0;  // granted
  std::int64_t lease_end_ns = 0;
  std::array<std::uint8_t, 32> reserved{};
};
static_assert(sizeof(OpenReply) == sizeof(Reply));

// A group acquire is its Request and other_slot further records, each beginning with Op::kMore.
// Their bodies, put together, name the keys one after another: namespace (2), mode (1: exclusive or
// shared), key length (1), key. In the reply the bodies hold a Grant per key, kGrantsPerRecord
// each, in the same order: the request must have records enough for them.
struct [[gnu::packed]] More {
  Op op = Op::kMore;
  std::array<std::uint8_t, 95> body{};
};
static_assert(sizeof(More) == sizeof(Request));

struct [[gnu::packed]] Grant {
  std::uint64_t token = 0;
  std::uint64_t ticket = 0;
};

// kProbeReport's record: what was seen of one session, at the reporter's interface, since the
// report before. Answered kDenied unless that session is the reporter's own client's or its host's.
struct [[gnu::packed]] ProbeReport {
  Op op = Op::kProbeReport;
  std::uint8_t flags = 0;
  std::uint8_t slot = kNoSlot;
  std::uint8_t clock = 0;  // of all its durations: kReportClockMonotonic
  std::uint32_t sequence = 0;
  std::uint64_t session_id = 0;  // the session seen
  std::uint64_t span_ns = 0;     // time that the report covers
  std::uint32_t requests = 0;    // datagrams that left, repeats by the network not counted
  std::uint32_t replies = 0;     // of these and earlier ones, answered in the span
  std::uint32_t repeats = 0;     // seen twice, with one nonce
  std::uint32_t unmatched = 0;   // answers to nothing that was seen
  std::uint32_t errors = 0;      // of the replies, those of kind error
  std::uint32_t pushes = 0;
  std::uint64_t p50_ns = 0;  // request to reply; 0 without replies
  std::uint64_t p99_ns = 0;
  std::uint64_t sum_ns = 0;  // of all replies
  std::array<std::uint8_t, 24> reserved{};
};
static_assert(sizeof(ProbeReport) == sizeof(Request) && std::is_trivially_copyable_v<ProbeReport>);
inline constexpr std::uint8_t kReportClockMonotonic = 1;  // the reporter's CLOCK_MONOTONIC

inline constexpr std::uint32_t kLockDelayMsMax = 60'000;
inline constexpr std::size_t kGroupKeysMax = 16;
inline constexpr std::size_t kGroupKeyHeadBytes = 4;
inline constexpr std::size_t kGrantsPerRecord = sizeof(More::body) / sizeof(Grant);
inline constexpr std::size_t more_records(std::size_t keys) {
  return (keys + kGrantsPerRecord - 1) / kGrantsPerRecord;
}

inline constexpr std::size_t kRecordBytes = sizeof(Request);
inline constexpr std::size_t kMacBytes = 16;
inline constexpr std::size_t kErrorBytes = sizeof(Header);
inline constexpr std::size_t datagram_bytes(std::size_t op_count) {
  return sizeof(Header) + op_count * kRecordBytes + kMacBytes;
}
inline constexpr std::size_t kDatagramBytesMin = datagram_bytes(1);
inline constexpr std::size_t kDatagramBytesMax = datagram_bytes(kOpsMax);

// Packets are not aligned: every record is copied in and out.
template <typename T>
[[nodiscard]] T load(const std::uint8_t* from) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}
template <typename T>
void store(std::uint8_t* to, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(to, &value, sizeof(T));
}
// A header or record to be written where it lies, field by field: building it elsewhere and copying
// it in would have the processor wait for its own narrow stores. (These two types may alias.)
template <typename T>
[[nodiscard]] T& overlay(std::uint8_t* bytes) {
  static_assert(std::is_same_v<T, Header> || std::is_same_v<T, Reply>);
  return *reinterpret_cast<T*>(bytes);
}
inline std::uint8_t* record(std::uint8_t* datagram, std::size_t index) {
  return datagram + sizeof(Header) + index * kRecordBytes;
}
inline const std::uint8_t* record(const std::uint8_t* datagram, std::size_t index) {
  return datagram + sizeof(Header) + index * kRecordBytes;
}

// Why a datagram was not served, for the counters.
enum class Reject : std::uint8_t {
  kNone = 0,
  kTruncated,  // shorter than its header says, or than the shortest datagram
  kOversized,  // longer than its header says, or than the longest datagram
  kBadMagic,
  kBadVersion,  // answered with kError
  kBadKind,
  kBadCount,        // op_count does not fit the length
  kUnknownClient,   // open by a client without a key
  kUnknownSession,  // answered with kError
  kBadMac,
};
inline constexpr std::size_t kRejectCount = 10;

const char* to_string(Op op);
const char* to_string(Status status);
const char* to_string(Mode mode);
const char* to_string(Reject reject);

// Checks everything about a request that needs no key: sizes, magic, version, kind, count.
[[nodiscard]] Reject check_request(std::span<const std::uint8_t> datagram);

}  // namespace driftlock::wire
