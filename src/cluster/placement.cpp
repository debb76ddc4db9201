#include "src/cluster/placement.hpp"

#include <algorithm>
#include <map>

namespace driftlock::cluster {
namespace {

using Counts = std::map<OwnerEndpoint, std::uint32_t>;

Counts count(const SlotMap& map, std::span<const OwnerEndpoint> endpoints) {
  Counts counts;
  for (const OwnerEndpoint& endpoint : endpoints) counts[endpoint] = 0;
  for (const SlotEntry& slot : map.slots) {
    if (const auto found = counts.find(slot.owner); found != counts.end()) ++found->second;
  }
  return counts;
}

// The emptiest endpoint, the first of equals.
Counts::iterator emptiest(Counts& counts) {
  return std::min_element(counts.begin(), counts.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; });
}

}  // namespace

std::vector<SlotMove> balance(const SlotMap& map, std::span<const OwnerEndpoint> endpoints) {
  std::vector<SlotMove> moves;
  if (endpoints.empty()) return moves;
  Counts counts = count(map, endpoints);
  const auto share = static_cast<std::uint32_t>(kSlotCount / counts.size());
  // So many endpoints keep one more than their share: those that have the most already.
  std::uint32_t larger = kSlotCount % static_cast<std::uint32_t>(counts.size());
  std::vector<OwnerEndpoint> order;
  for (const auto& [endpoint, owned] : counts) order.push_back(endpoint);
  std::stable_sort(order.begin(), order.end(),
                   [&counts](const auto& a, const auto& b) { return counts[a] > counts[b]; });
  Counts room;
  for (const OwnerEndpoint& endpoint : order) {
    room[endpoint] = share + (larger > 0 ? 1 : 0);
    if (larger > 0) --larger;
  }
  std::vector<std::uint16_t> homeless;
  for (std::uint16_t slot = 0; slot < kSlotCount; ++slot) {
    const auto found = room.find(map.slots[slot].owner);
    if (found == room.end() || found->second == 0) {
      homeless.push_back(slot);
    } else {
      --found->second;
    }
  }
  auto to = room.begin();
  for (const std::uint16_t slot : homeless) {
    while (to->second == 0) ++to;
    --to->second;
    moves.push_back({slot, map.slots[slot].owner, to->first});
  }
  return moves;
}

std::vector<SlotMove> fail_over(const SlotMap& map, NodeId gone,
                                std::span<const OwnerEndpoint> survivors) {
  std::vector<SlotMove> moves;
  if (survivors.empty()) return moves;
  Counts counts = count(map, survivors);
  for (std::uint16_t slot = 0; slot < kSlotCount; ++slot) {
    if (map.slots[slot].owner.node != gone) continue;
    const auto to = emptiest(counts);
    ++to->second;
    moves.push_back({slot, map.slots[slot].owner, to->first});
  }
  return moves;
}

}  // namespace driftlock::cluster
