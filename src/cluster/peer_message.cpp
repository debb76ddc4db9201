#include "src/cluster/peer_message.hpp"

#include <algorithm>

namespace driftlock::cluster {
namespace {

// docs/protocol.md, "Between nodes".
struct [[gnu::packed]] Record {
  std::uint8_t op = 0;
  std::uint8_t reserved0 = 0;
  std::uint16_t from = 0;
  std::uint16_t to = 0;
  std::uint16_t reserved1 = 0;
  std::uint32_t incarnation = 0;
  std::uint32_t reserved2 = 0;
  std::uint64_t sequence = 0;
  std::uint64_t map_version = 0;
  std::int64_t lease_end_ns = 0;
  std::int64_t horizon_ns = 0;
  std::array<std::uint8_t, 48> reserved3{};
};
static_assert(sizeof(Record) == wire::kRecordBytes);

}  // namespace

std::array<std::uint8_t, kPeerMessageBytes> encode(const PeerMessage& message,
                                                   const ClockReading& now,
                                                   const SecretKey& cluster_key) {
  std::array<std::uint8_t, kPeerMessageBytes> out{};
  wire::Header header;
  header.kind = wire::Kind::kTransfer;
  header.length = kPeerMessageBytes;
  header.session_id = message.from;
  header.nonce = message.sequence;
  header.time_ns = now.tai.middle();
  header.error_ns =
      static_cast<std::uint32_t>(std::min<Nanoseconds>(now.tai.half_width(), wire::kUnknownError));
  header.clock_state = static_cast<std::uint8_t>(now.state);
  header.op_count = 1;
  header.epoch = message.incarnation;
  wire::store(out.data(), header);
  Record record;
  record.op = static_cast<std::uint8_t>(message.op);
  record.from = message.from;
  record.to = message.to;
  record.incarnation = message.incarnation;
  record.sequence = message.sequence;
  record.map_version = message.map_version;
  record.lease_end_ns = message.lease_end_tai_ns;
  record.horizon_ns = message.horizon_tai_ns;
  wire::store(wire::record(out.data(), 0), record);
  sign_datagram(cluster_key, out);
  return out;
}

std::optional<PeerMessage> decode_peer_message(std::span<const std::uint8_t> datagram, NodeId self,
                                               const SecretKey& cluster_key) {
  if (datagram.size() != kPeerMessageBytes) return std::nullopt;
  const auto header = wire::load<wire::Header>(datagram.data());
  const bool sound = header.magic == wire::kMagic && header.version == wire::kVersion &&
                     header.kind == wire::Kind::kTransfer && header.length == kPeerMessageBytes &&
                     header.op_count == 1;
  if (!sound || !verify_datagram(cluster_key, datagram)) return std::nullopt;
  const auto record = wire::load<Record>(wire::record(datagram.data(), 0));
  const bool known = record.op >= static_cast<std::uint8_t>(PeerOp::kAsk) &&
                     record.op <= static_cast<std::uint8_t>(PeerOp::kYield);
  if (!known || record.to != self || record.from == 0 || record.from == self) return std::nullopt;
  PeerMessage message;
  message.op = static_cast<PeerOp>(record.op);
  message.from = record.from;
  message.to = record.to;
  message.incarnation = record.incarnation;
  message.sequence = record.sequence;
  message.map_version = record.map_version;
  message.lease_end_tai_ns = record.lease_end_ns;
  message.horizon_tai_ns = record.horizon_ns;
  return message;
}

}  // namespace driftlock::cluster
