#include "src/lock/slots.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace driftlock {

std::uint16_t slot_of(const LockName& name) {
  const SlotInput input(name);
  return static_cast<std::uint16_t>(XXH3_64bits(input.bytes.data(), input.size) & (kSlotCount - 1));
}

}  // namespace driftlock
