// Placement: which endpoint should own which slot. Pure functions of the map and of who is there:
// any node computes the same.
#pragma once

#include <span>
#include <vector>

#include "src/cluster/slot_map.hpp"

namespace driftlock::cluster {

struct SlotMove {
  std::uint16_t slot = 0;
  OwnerEndpoint from;
  OwnerEndpoint to;
};

// The fewest moves after which every endpoint owns as many slots as every other, but for one, and
// nobody else owns any. `endpoints` in any order, without repeats; empty: no moves.
[[nodiscard]] std::vector<SlotMove> balance(const SlotMap& map,
                                            std::span<const OwnerEndpoint> endpoints);

// What is lost with `gone` goes to the survivors, each getting what it is short of; nothing else
// moves, since every slot that fails over costs its clients a reclaim.
[[nodiscard]] std::vector<SlotMove> fail_over(const SlotMap& map, NodeId gone,
                                              std::span<const OwnerEndpoint> survivors);

}  // namespace driftlock::cluster
