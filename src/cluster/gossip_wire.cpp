#include "src/cluster/gossip_wire.hpp"

#include "src/base/assert.hpp"

namespace driftlock::gossip {
namespace {

constexpr std::uint8_t kNoKind = 0xFF;

template <typename T, std::size_t N>
std::uint8_t* put(std::uint8_t* to, const Few<T, N>& items) {
  for (const T& item : items) {
    wire::store(to, item);
    to += sizeof(T);
  }
  return to;
}

template <typename T, std::size_t N>
const std::uint8_t* take(const std::uint8_t* from, std::size_t count, Few<T, N>& items) {
  for (std::size_t i = 0; i < count; ++i, from += sizeof(T)) items.items[i] = wire::load<T>(from);
  items.count = count;
  return from;
}

Refusal check_frame(std::span<const std::uint8_t> datagram, std::uint8_t kind,
                    wire::Header& header) {
  if (datagram.size() < kBytesMin || datagram.size() > kBytesMax) return Refusal::kLength;
  header = wire::load<wire::Header>(datagram.data());
  if (header.magic != wire::kMagic || header.version != wire::kVersion ||
      static_cast<std::uint8_t>(header.kind) != kind) {
    return Refusal::kHeader;
  }
  if (header.length != datagram.size()) return Refusal::kLength;
  return Refusal::kNone;
}

bool sane(const Statement& statement) {
  constexpr std::int64_t kAgeMax = 3600 * kSecond;
  constexpr std::int64_t kInstantMax = std::int64_t{1} << 62;
  const std::int64_t age = statement.age_ns;
  const std::int64_t estimate = statement.estimate_ns;
  return statement.origin != kNobody && age >= 0 && age <= kAgeMax && estimate >= 0 &&
         estimate <= kInstantMax && statement.clock_state <= 3 &&
         statement.stage <= Stage::kReturning;
}

bool sane(const Message& message) {
  if (message.header.session_id == kNobody || message.head.type > Type::kProbeAck) return false;
  for (const Statement& statement : message.statements) {
    if (!sane(statement)) return false;
  }
  for (const Member& member : message.members) {
    if (member.id == kNobody || member.state > MemberState::kDead) return false;
  }
  for (const Link& link : message.links) {
    if (link.to == kNobody) return false;
  }
  return true;
}

}  // namespace

const char* to_string(Refusal refusal) {
  constexpr std::array<const char*, kRefusalCount> kNames = {"none",   "length",  "header",
                                                             "layout", "content", "mac"};
  return kNames[static_cast<std::size_t>(refusal)];
}

const char* to_string(Stage stage) {
  constexpr std::array<const char*, 6> kNames = {"normal",       "suspect", "withdrawn",
                                                 "handing-over", "outside", "returning"};
  return static_cast<std::size_t>(stage) < kNames.size() ? kNames[static_cast<std::size_t>(stage)]
                                                         : "?";
}

const char* to_string(Reason reason) {
  constexpr std::array<const char*, 6> kNames = {"none",   "intervals", "estimate",
                                                 "alerts", "clients",   "closure"};
  return static_cast<std::size_t>(reason) < kNames.size() ? kNames[static_cast<std::size_t>(reason)]
                                                          : "?";
}

const char* to_string(MemberState state) {
  constexpr std::array<const char*, 3> kNames = {"alive", "suspect", "dead"};
  return static_cast<std::size_t>(state) < kNames.size() ? kNames[static_cast<std::size_t>(state)]
                                                         : "?";
}

std::size_t encode(const Message& message, Buffer& out) {
  wire::Header header = message.header;
  header.kind = static_cast<wire::Kind>(kGossipKind);
  header.op_count = static_cast<std::uint8_t>(message.statements.count);
  GossipHead head = message.head;
  head.members = static_cast<std::uint8_t>(message.members.count);
  head.wants = static_cast<std::uint8_t>(message.wants.count);
  head.links = static_cast<std::uint8_t>(message.links.count);
  std::uint8_t* end = out.data() + sizeof(header) + sizeof(head);
  end = put(end, message.statements);
  end = put(end, message.members);
  end = put(end, message.wants);
  end = put(end, message.links);
  const auto length = static_cast<std::size_t>(end - out.data()) + wire::kMacBytes;
  header.length = static_cast<std::uint16_t>(length);
  wire::store(out.data(), header);
  wire::store(out.data() + sizeof(header), head);
  return length;
}

std::size_t encode(const Alert& alert, Buffer& out) {
  wire::Header header = alert.header;
  header.kind = static_cast<wire::Kind>(kAlertKind);
  header.op_count = 0;
  header.length = static_cast<std::uint16_t>(kAlertBytes);
  wire::store(out.data(), header);
  wire::store(out.data() + sizeof(header), alert.body);
  return kAlertBytes;
}

Refusal decode(std::span<const std::uint8_t> datagram, const SecretKey& key, Message& out) {
  const Refusal framed = check_frame(datagram, kGossipKind, out.header);
  if (framed != Refusal::kNone) return framed;
  out.head = wire::load<GossipHead>(datagram.data() + sizeof(wire::Header));
  if (out.head.version != kGossipVersion) return Refusal::kHeader;
  const std::size_t statements = out.header.op_count;
  if (statements > kStatementsMax || out.head.members > kMembersMax || out.head.wants > kWantsMax ||
      out.head.links > kLinksMax) {
    return Refusal::kLayout;
  }
  const std::size_t length = kBytesMin + statements * sizeof(Statement) +
                             out.head.members * sizeof(Member) + out.head.wants * sizeof(Want) +
                             out.head.links * sizeof(Link);
  if (length != datagram.size()) return Refusal::kLayout;
  if (!verify_datagram(key, datagram)) return Refusal::kMac;
  const std::uint8_t* from = datagram.data() + sizeof(wire::Header) + sizeof(GossipHead);
  from = take(from, statements, out.statements);
  from = take(from, out.head.members, out.members);
  from = take(from, out.head.wants, out.wants);
  from = take(from, out.head.links, out.links);
  DRIFTLOCK_ASSERT(from + wire::kMacBytes == datagram.data() + datagram.size());
  return sane(out) ? Refusal::kNone : Refusal::kContent;
}

Refusal decode(std::span<const std::uint8_t> datagram, const SecretKey& key, Alert& out) {
  const Refusal framed = check_frame(datagram, kAlertKind, out.header);
  if (framed != Refusal::kNone) return framed;
  if (datagram.size() != kAlertBytes) return Refusal::kLength;
  out.body = wire::load<AlertBody>(datagram.data() + sizeof(wire::Header));
  if (out.body.version != kGossipVersion) return Refusal::kHeader;
  if (!verify_datagram(key, datagram)) return Refusal::kMac;
  const bool good = out.header.session_id != kNobody && out.body.subject != kNobody &&
                    out.body.stage <= Stage::kReturning && out.body.reason <= Reason::kClosure;
  return good ? Refusal::kNone : Refusal::kContent;
}

std::uint8_t kind_of(std::span<const std::uint8_t> datagram) {
  if (datagram.size() < sizeof(wire::Header)) return kNoKind;
  return static_cast<std::uint8_t>(wire::load<wire::Header>(datagram.data()).kind);
}

}  // namespace driftlock::gossip
