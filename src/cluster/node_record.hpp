// NodeRecord: what a node says of itself at the coordinator, anew with every renewal of its
// ownership lease. A plain value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/result.hpp"
#include "src/base/time.hpp"
#include "src/cluster/slot_map.hpp"

namespace driftlock::cluster {

enum class NodeState : std::uint8_t {
  kUp = 1,
  kDraining = 2,  // keeps serving what it owns, and hands it over
};

struct NodeRecord {
  NodeId id = 0;
  std::string name;
  std::uint32_t ipv4 = 0;      // where clients send, host byte order
  std::uint16_t udp_port = 0;  // of shard 0; shard s: udp_port + s
  std::uint16_t shards = 1;
  std::uint32_t peer_ipv4 = 0;  // where nodes send
  std::uint16_t peer_port = 0;
  NodeState state = NodeState::kUp;
  std::uint32_t incarnation = 0;            // rises at every start
  Nanoseconds lease_end_tai_ns = kLongAgo;  // it serves only while its `latest` is before this
  Nanoseconds horizon_tai_ns = kLongAgo;    // no client has been promised a lease past this
  Nanoseconds grace_ns = 0;  // how long past its last word here promises of its peers may carry it
  // The coordinator's revision of its last renewal whose answer it had when it wrote this.
  std::int64_t confirmed_revision = 0;
  friend bool operator==(const NodeRecord&, const NodeRecord&) = default;
};

[[nodiscard]] std::string encode(const NodeRecord& record);
[[nodiscard]] Result<NodeRecord> decode_node_record(std::string_view bytes);

}  // namespace driftlock::cluster
