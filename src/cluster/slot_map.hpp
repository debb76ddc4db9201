// SlotMap: who owns which slot, under which epoch. A plain value; the one in force is what the
// coordinator holds, changed by compare-and-swap and by nothing else.
//
// Invariants, kept by whoever makes a new map (member.hpp): version rises by one with every map; a
// slot's epoch rises with every change of its owner and every new life of it; no owner before has
// promised a lease past leases_until.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/result.hpp"
#include "src/base/time.hpp"
#include "src/lock/slots.hpp"

namespace driftlock::cluster {

using NodeId = std::uint16_t;  // 1 to 65535; 0 = nobody

// An Engine with a UDP port of its own: a node with k lcores is k of them.
struct OwnerEndpoint {
  NodeId node = 0;
  std::uint16_t shard = 0;
  friend bool operator==(const OwnerEndpoint&, const OwnerEndpoint&) = default;
  friend bool operator<(const OwnerEndpoint& a, const OwnerEndpoint& b) {
    return a.node != b.node ? a.node < b.node : a.shard < b.shard;
  }
};

struct SlotEntry {
  OwnerEndpoint owner;
  std::uint32_t epoch = 0;  // in the high bits of its tokens; below 2^23
  // Leases promised by the owners before end here at the latest: until `earliest` is past it, who
  // holds such a lease may reclaim.
  Nanoseconds leases_until_tai_ns = kLongAgo;
  bool handed_over = false;  // the owner before gave its table: its holders are known

  // Nothing fresh is granted until `earliest` is past it.
  [[nodiscard]] Nanoseconds fresh_after_tai_ns() const {
    return handed_over ? kLongAgo : leases_until_tai_ns;
  }
  friend bool operator==(const SlotEntry&, const SlotEntry&) = default;
};

struct SlotMap {
  std::uint64_t version = 0;  // 0: there is none
  std::array<SlotEntry, kSlotCount> slots;

  [[nodiscard]] std::uint32_t count_of(NodeId node) const;
  friend bool operator==(const SlotMap&, const SlotMap&) = default;
};

[[nodiscard]] std::string encode(const SlotMap& map);
[[nodiscard]] Result<SlotMap> decode_slot_map(std::string_view bytes);

}  // namespace driftlock::cluster
