// ClaimLists: for every session the numbers of its claims, as a stack in blocks of seven. A claim
// remembers its place; one that is removed is replaced by the last, so that a removal touches one
// block and not, as a linked list would, the records of two other locks somewhere in memory. Owned
// by one lcore; nothing is allocated after construction.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory_resource>
#include <vector>

#include "src/base/assert.hpp"
#include "src/lock/key_index.hpp"

namespace driftlock {

// A session's stack.
struct ClaimList {
  std::uint32_t block = kNil;  // the last one
  std::uint32_t count = 0;     // claims in all

  [[nodiscard]] bool empty() const { return count == 0; }
};

class ClaimLists {
 public:
  // Blocks are full but for each session's last.
  ClaimLists(std::uint32_t claims_max, std::uint32_t sessions_max,
             std::pmr::memory_resource* memory)
      : blocks_(claims_max / kPerBlock + std::min(claims_max, sessions_max) + 1, memory) {
    DRIFTLOCK_ASSERT(blocks_.size() < (std::size_t{1} << (32 - kPlaceBits)));
    for (std::uint32_t i = 0; i < blocks_.size(); ++i) blocks_[i].below = i + 1;
    blocks_.back().below = kNil;
  }

  // Returns the place of the claim.
  [[nodiscard]] std::uint32_t push(ClaimList& list, std::uint32_t claim) {
    const std::uint32_t at = list.count++ % kPerBlock;
    if (at == 0) {
      const std::uint32_t fresh = free_;
      DRIFTLOCK_ASSERT(fresh != kNil);
      free_ = blocks_[fresh].below;
      blocks_[fresh].below = list.block;
      list.block = fresh;
    }
    blocks_[list.block].claims[at] = claim;
    return (list.block << kPlaceBits) + at;
  }

  // Returns the claim that now has the place, kNil where the last was taken off.
  [[nodiscard]] std::uint32_t remove(ClaimList& list, std::uint32_t place) {
    DRIFTLOCK_ASSERT(list.count > 0);
    const std::uint32_t at = --list.count % kPerBlock;
    const std::uint32_t last_place = (list.block << kPlaceBits) + at;
    const std::uint32_t last = blocks_[list.block].claims[at];
    if (at == 0) {
      const std::uint32_t emptied = list.block;
      list.block = blocks_[emptied].below;
      blocks_[emptied].below = free_;
      free_ = emptied;
    }
    if (last_place == place) return kNil;
    blocks_[place >> kPlaceBits].claims[place & kPlaceMask] = last;
    return last;
  }

  [[nodiscard]] std::uint32_t last(const ClaimList& list) const {
    return list.count == 0 ? kNil : blocks_[list.block].claims[(list.count - 1) % kPerBlock];
  }
  // The claim below the one at `place`; kNil at the bottom.
  [[nodiscard]] std::uint32_t before(std::uint32_t place) const {
    const Block& block = blocks_[place >> kPlaceBits];
    const std::uint32_t at = place & kPlaceMask;
    if (at > 0) return block.claims[at - 1];
    return block.below == kNil ? kNil : blocks_[block.below].claims[kPerBlock - 1];
  }

  void prefetch_head(const ClaimList& list) const {
    if (list.block != kNil) __builtin_prefetch(&blocks_[list.block], 1);
  }
  void prefetch(std::uint32_t place) const { __builtin_prefetch(&blocks_[place >> kPlaceBits], 1); }
  [[nodiscard]] static constexpr double bytes_per_claim() {
    return static_cast<double>(sizeof(Block)) / kPerBlock;
  }

 private:
  static constexpr std::uint32_t kPerBlock = 7;
  static constexpr int kPlaceBits = 3;
  static constexpr std::uint32_t kPlaceMask = (1U << kPlaceBits) - 1;

  struct alignas(32) Block {
    std::array<std::uint32_t, kPerBlock> claims{};
    std::uint32_t below = kNil;  // the next older block; of a free one: the next free
  };
  static_assert(sizeof(Block) == 32);

  std::pmr::vector<Block> blocks_;
  std::uint32_t free_ = 0;
};

}  // namespace driftlock
