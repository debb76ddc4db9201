#include "src/cluster/slot_map.hpp"

#include <algorithm>

#include "src/cluster/bytes.hpp"

namespace driftlock::cluster {
namespace {

constexpr std::uint32_t kMagic = 0x314D4C44;  // "DLM1"

}  // namespace

std::uint32_t SlotMap::count_of(NodeId node) const {
  return static_cast<std::uint32_t>(
      std::count_if(slots.begin(), slots.end(),
                    [node](const SlotEntry& slot) { return slot.owner.node == node; }));
}

std::string encode(const SlotMap& map) {
  Writer writer;
  writer.put(kMagic).put(map.version).put(kSlotCount);
  for (const SlotEntry& slot : map.slots) {
    writer.put(slot.owner.node).put(slot.owner.shard).put(slot.epoch);
    writer.put(slot.leases_until_tai_ns).put(static_cast<std::uint8_t>(slot.handed_over));
  }
  return writer.take();
}

Result<SlotMap> decode_slot_map(std::string_view bytes) {
  Reader reader(bytes);
  SlotMap map;
  const bool known = reader.get<std::uint32_t>() == kMagic;
  map.version = reader.get<std::uint64_t>();
  const bool sized = reader.get<std::uint32_t>() == kSlotCount;
  if (!known || !sized || map.version == 0) return Error{"this is no slot map of driftlock's"};
  for (SlotEntry& slot : map.slots) {
    slot.owner.node = reader.get<NodeId>();
    slot.owner.shard = reader.get<std::uint16_t>();
    slot.epoch = reader.get<std::uint32_t>();
    slot.leases_until_tai_ns = reader.get<Nanoseconds>();
    slot.handed_over = reader.get<std::uint8_t>() != 0;
  }
  if (!reader.complete()) return Error{"the slot map is damaged"};
  return map;
}

}  // namespace driftlock::cluster
