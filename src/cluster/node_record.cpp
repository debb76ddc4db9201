#include "src/cluster/node_record.hpp"

#include "src/cluster/bytes.hpp"

namespace driftlock::cluster {
namespace {

constexpr std::uint32_t kMagic = 0x314E4C44;  // "DLN1"

}  // namespace

std::string encode(const NodeRecord& record) {
  Writer writer;
  writer.put(kMagic).put(record.id).text(record.name).put(record.ipv4).put(record.udp_port);
  writer.put(record.shards).put(record.peer_ipv4).put(record.peer_port);
  writer.put(static_cast<std::uint8_t>(record.state)).put(record.incarnation);
  writer.put(record.lease_end_tai_ns).put(record.horizon_tai_ns).put(record.grace_ns);
  writer.put(record.confirmed_revision);
  return writer.take();
}

Result<NodeRecord> decode_node_record(std::string_view bytes) {
  Reader reader(bytes);
  if (reader.get<std::uint32_t>() != kMagic) return Error{"this is no node record of driftlock's"};
  NodeRecord record;
  record.id = reader.get<NodeId>();
  record.name = reader.text();
  record.ipv4 = reader.get<std::uint32_t>();
  record.udp_port = reader.get<std::uint16_t>();
  record.shards = reader.get<std::uint16_t>();
  record.peer_ipv4 = reader.get<std::uint32_t>();
  record.peer_port = reader.get<std::uint16_t>();
  record.state = static_cast<NodeState>(reader.get<std::uint8_t>());
  record.incarnation = reader.get<std::uint32_t>();
  record.lease_end_tai_ns = reader.get<Nanoseconds>();
  record.horizon_tai_ns = reader.get<Nanoseconds>();
  record.grace_ns = reader.get<Nanoseconds>();
  record.confirmed_revision = reader.get<std::int64_t>();
  const bool sound = record.id != 0 && record.shards != 0 &&
                     (record.state == NodeState::kUp || record.state == NodeState::kDraining);
  if (!reader.complete() || !sound) return Error{"the node record is damaged"};
  return record;
}

}  // namespace driftlock::cluster
