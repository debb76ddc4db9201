// Slots: what ownership in a cluster is counted in. A lock's slot is a public hash of its name, the
// same for every client and node: low 10 bits of XXH3-64, seed 0, over namespace id (little-endian)
// and key. (The table's own hash is secret and another one.)
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "src/lock/key_store.hpp"

namespace driftlock {

inline constexpr std::uint32_t kSlotCount = 1024;

// The bytes hashed for a name; at most 66.
struct SlotInput {
  std::array<std::uint8_t, sizeof(std::uint16_t) + wire::kKeyBytesMax> bytes{};
  std::size_t size = 0;

  explicit SlotInput(const LockName& name) : size(sizeof(std::uint16_t) + name.key.size()) {
    wire::store(bytes.data(), name.namespace_id);
    std::copy(name.key.begin(), name.key.end(), bytes.begin() + sizeof(std::uint16_t));
  }
};

[[nodiscard]] std::uint16_t slot_of(const LockName& name);

}  // namespace driftlock
