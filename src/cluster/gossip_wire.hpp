// Gossip on the wire: docs/protocol.md, "Gossip", in C++. Node to node, over UDP, signed with a key
// that all nodes of a cluster share. Fixed layout, little-endian, packed.
//
//   gossip = Header (48) + GossipHead (48) + statements (72 each) + members (16 each)
//            + wants (16 each) + links (32 each) + MAC (16)
//   alert  = Header (48) + AlertBody (48) + MAC (16)
//
// Invariant: what decode() lets through is whole, authentic and within the limits below; a datagram
// never exceeds an Ethernet frame.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "src/cluster/peer_list.hpp"
#include "src/lock/mac.hpp"
#include "src/lock/wire.hpp"

namespace driftlock::gossip {

inline constexpr std::uint8_t kGossipKind = 4;
inline constexpr std::uint8_t kAlertKind = 5;
inline constexpr std::uint8_t kGossipVersion = 1;

inline constexpr std::size_t kStatementsMax = 8;
inline constexpr std::size_t kMembersMax = 8;
inline constexpr std::size_t kWantsMax = 8;
inline constexpr std::size_t kLinksMax = 4;

enum class Type : std::uint8_t {
  kPing = 0,
  kAck = 1,
  kProbe = 2,     // ask the receiver to ping `target`, which does not answer the sender
  kProbeAck = 3,  // `target` has answered it
};

enum class MemberState : std::uint8_t { kAlive = 0, kSuspect = 1, kDead = 2 };

// How far a node has gone in taking its clock out of service; docs/timekeeping.md.
enum class Stage : std::uint8_t {
  kNormal = 0,
  kSuspect = 1,      // margins are wide, peers have been told
  kWithdrawn = 2,    // takes no ownership any more
  kHandingOver = 3,  // gives away what it owns
  kOutside = 4,      // owns nothing
  kReturning = 5,    // agrees again, and waits before it takes ownership
};

enum class Reason : std::uint8_t {
  kNone = 0,
  kIntervals = 1,  // its hard bound does not meet its peers'
  kEstimate = 2,   // its estimate is further from theirs than both uncertainties allow
  kAlerts = 3,     // more peers say so than may be wrong
  kClients = 4,    // synchronized clients say so
  kClosure = 5,    // offsets around a loop of three do not add up
};

// Fields of the datagram that follow the common header (wire::Header: kind 4; session_id the
// sender's node id, nonce the question's, time_ns the sender's estimate, op_count the statements,
// epoch the sender's life, which names its local timescale).
struct [[gnu::packed]] GossipHead {
  std::uint8_t version = kGossipVersion;
  Type type = Type::kPing;
  std::uint8_t members = 0;
  std::uint8_t wants = 0;
  std::uint8_t links = 0;
  std::uint8_t statements_wanted =
      0;  // ping: how many the answer may carry, the answerer's own first
  std::uint16_t reserved1 = 0;
  std::uint64_t target = kNobody;  // ping, ack: who it is meant for; probe: who is to be asked
  std::uint32_t round = 0;         // rises with every datagram of this sender's life
  std::uint32_t reserved2 = 0;
  std::int64_t t1_ns = 0;  // sender's local time at sending (ping); as in the ping (ack)
  std::int64_t t2_ns = 0;  // ack: the answering node's local time at receipt
  std::int64_t t3_ns = 0;  // ack: and at sending
};
static_assert(sizeof(GossipHead) == 48);

// What a node says of its own clock, passed on in its own words. When it was made TAI was in
// [estimate - early, estimate + late] for certain; that was age_ns ago when this datagram was sent,
// to within age_error_ns.
struct [[gnu::packed]] Statement {
  std::uint64_t origin = kNobody;
  std::uint32_t epoch = 0;     // of the origin's life
  std::uint32_t sequence = 0;  // rises within it
  std::int64_t estimate_ns = 0;
  std::uint32_t early_ns = wire::kUnknownError;
  std::uint32_t late_ns = wire::kUnknownError;
  std::uint32_t sigma_ns = wire::kUnknownError;  // one standard deviation of estimate_ns
  std::int32_t rate_ppb = 0;                     // TAI against the origin's local time
  std::uint32_t rate_error_ppb = 0;              // hard, to either side
  std::uint8_t clock_state = 0;
  Stage stage = Stage::kNormal;
  std::uint16_t reserved0 = 0;
  std::uint64_t grandmaster = 0;  // what it follows; 0 = it does not say
  std::int64_t age_ns = 0;
  std::uint32_t age_error_ns = 0;
  std::uint32_t reserved1 = 0;
};
static_assert(sizeof(Statement) == 72);

struct [[gnu::packed]] Member {
  std::uint64_t id = kNobody;
  std::uint32_t epoch = 0;
  std::uint16_t incarnation = 0;  // raised by the node itself, to contradict a suspicion
  MemberState state = MemberState::kAlive;
  std::uint8_t reserved = 0;
};
static_assert(sizeof(Member) == 16);

// The sender holds the statement `sequence` of this origin and would like a newer one.
struct [[gnu::packed]] Want {
  std::uint64_t origin = kNobody;
  std::uint32_t epoch = 0;
  std::uint32_t sequence = 0;
};
static_assert(sizeof(Want) == 16);

// At t3_ns the local time of node `to` was the sender's + offset_ns, to within error_ns (hard).
struct [[gnu::packed]] Link {
  std::uint64_t to = kNobody;
  std::int64_t offset_ns = 0;
  std::uint32_t error_ns = wire::kUnknownError;
  std::uint32_t to_epoch = 0;
  std::uint64_t reserved = 0;
};
static_assert(sizeof(Link) == 32);

struct [[gnu::packed]] AlertBody {
  std::uint8_t version = kGossipVersion;
  Stage stage = Stage::kSuspect;
  Reason reason = Reason::kNone;
  std::uint8_t reserved0 = 0;
  std::uint32_t sequence = 0;  // rises within the sender's life
  std::uint64_t subject = 0;   // whose clock it is about; the sender itself or another
  std::uint32_t subject_epoch = 0;
  std::uint32_t error_ns = wire::kUnknownError;  // of offset_ns
  std::int64_t offset_ns = 0;  // the subject's clock less what the sender has from all
  std::array<std::uint8_t, 16> reserved1{};
};
static_assert(sizeof(AlertBody) == 48);

inline constexpr std::size_t kBytesMax = sizeof(wire::Header) + sizeof(GossipHead) +
                                         kStatementsMax * sizeof(Statement) +
                                         kMembersMax * sizeof(Member) + kWantsMax * sizeof(Want) +
                                         kLinksMax * sizeof(Link) + wire::kMacBytes;
static_assert(kBytesMax <= 1472, "an Ethernet frame, less IPv4 and UDP headers");
inline constexpr std::size_t kBytesMin =
    sizeof(wire::Header) + sizeof(GossipHead) + wire::kMacBytes;
inline constexpr std::size_t kAlertBytes =
    sizeof(wire::Header) + sizeof(AlertBody) + wire::kMacBytes;
static_assert(kAlertBytes == kBytesMin);

template <typename T, std::size_t N>
struct Few {
  std::array<T, N> items{};
  std::size_t count = 0;

  bool add(const T& item) {
    if (count == N) return false;
    items[count++] = item;
    return true;
  }
  [[nodiscard]] bool full() const { return count == N; }
  [[nodiscard]] const T* begin() const { return items.data(); }
  [[nodiscard]] const T* end() const { return items.data() + count; }
};

struct Message {
  wire::Header header;
  GossipHead head;
  Few<Statement, kStatementsMax> statements;
  Few<Member, kMembersMax> members;
  Few<Want, kWantsMax> wants;
  Few<Link, kLinksMax> links;
};

struct Alert {
  wire::Header header;
  AlertBody body;
};

enum class Refusal : std::uint8_t {
  kNone = 0,
  kLength,   // not as long as it says, or than it may be
  kHeader,   // no magic, another version or kind
  kLayout,   // counts beyond the limits, or that do not fit the length
  kContent,  // a field out of its range
  kMac,
};
inline constexpr std::size_t kRefusalCount = 6;
const char* to_string(Refusal refusal);
const char* to_string(Stage stage);
const char* to_string(Reason reason);
const char* to_string(MemberState state);

using Buffer = std::array<std::uint8_t, kBytesMax>;

// Fills in the counts and the length; returns the bytes used, MAC included but not yet computed.
[[nodiscard]] std::size_t encode(const Message& message, Buffer& out);
[[nodiscard]] std::size_t encode(const Alert& alert, Buffer& out);
[[nodiscard]] Refusal decode(std::span<const std::uint8_t> datagram, const SecretKey& key,
                             Message& out);
[[nodiscard]] Refusal decode(std::span<const std::uint8_t> datagram, const SecretKey& key,
                             Alert& out);
// Kind of a datagram that may be gossip; 0xFF where it is too short to have one.
[[nodiscard]] std::uint8_t kind_of(std::span<const std::uint8_t> datagram);

}  // namespace driftlock::gossip
