// What nodes say to each other about ownership, in datagrams of kind 6 signed with the cluster's
// key.
//
// A node asks each other one to promise not to take over from it before an instant. Where all of
// them have promised, it serves on although the coordinator does not answer (member.hpp). Repeats,
// losses and late copies do no harm: a promise only ever names a later instant than the one before.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "src/cluster/slot_map.hpp"
#include "src/lock/mac.hpp"
#include "src/lock/wire.hpp"

namespace driftlock::cluster {

enum class PeerOp : std::uint8_t {
  kAsk = 1,      // promise not to take over from me before lease_end
  kPromise = 2,  // promised, what was asked under this sequence
  kYield = 3,    // clients cannot reach you, they say: if you hear nobody, give your slots away
};

struct PeerMessage {
  PeerOp op = PeerOp::kAsk;
  NodeId from = 0;
  NodeId to = 0;
  std::uint32_t incarnation = 0;  // of who asks
  std::uint64_t sequence = 0;
  std::uint64_t map_version = 0;  // the newest that the sender knows
  Nanoseconds lease_end_tai_ns = kLongAgo;
  Nanoseconds horizon_tai_ns = kLongAgo;
};

inline constexpr std::size_t kPeerMessageBytes = wire::datagram_bytes(1);

// The sender's clock goes into the header, as in every datagram.
[[nodiscard]] std::array<std::uint8_t, kPeerMessageBytes> encode(const PeerMessage& message,
                                                                 const ClockReading& now,
                                                                 const SecretKey& cluster_key);
// Nothing where it is malformed, signed by another key, or for another node.
[[nodiscard]] std::optional<PeerMessage> decode_peer_message(std::span<const std::uint8_t> datagram,
                                                             NodeId self,
                                                             const SecretKey& cluster_key);

}  // namespace driftlock::cluster
