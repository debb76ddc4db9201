// KeyStore: the names of the locks in a LockTable. A lock's own record has a KeyRecord with the
// whole key, if that is not longer than kInlineBytes; a longer one keeps its end in a shared pool.
// Owned by one lcore.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <span>
#include <vector>

#include "src/base/assert.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {

struct LockName {
  std::uint16_t namespace_id = 0;
  std::span<const std::uint8_t> key;
};

struct KeyRecord {
  static constexpr std::size_t kInlineBytes = 24;

  std::uint16_t namespace_id = 0;
  std::uint8_t length = 0;  // 0: no name
  std::uint8_t reserved = 0;
  // The whole key, or its first kHeadBytes and the index of its tail.
  std::array<std::uint8_t, kInlineBytes> head{};
};
static_assert(sizeof(KeyRecord) == 28);

class KeyStore {
 public:
  KeyStore(std::uint32_t long_keys_max, std::pmr::memory_resource* memory)
      : tails_(long_keys_max, memory) {
    for (std::uint32_t i = 0; i < long_keys_max; ++i) tails_[i].next_free = i + 1;
  }

  // False where the key is long and the pool for long keys is used up.
  [[nodiscard]] bool put(KeyRecord& record, const LockName& name) {
    if (name.key.size() <= KeyRecord::kInlineBytes) {
      std::memcpy(record.head.data(), name.key.data(), name.key.size());
    } else {
      if (free_tail_ == tails_.size()) return false;
      const std::uint32_t tail = free_tail_;
      free_tail_ = tails_[tail].next_free;
      std::memcpy(record.head.data(), name.key.data(), kHeadBytes);
      std::memcpy(record.head.data() + kHeadBytes, &tail, sizeof(tail));
      std::memcpy(tails_[tail].bytes.data(), name.key.data() + kHeadBytes,
                  name.key.size() - kHeadBytes);
    }
    record.namespace_id = name.namespace_id;
    record.length = static_cast<std::uint8_t>(name.key.size());
    return true;
  }

  void erase(KeyRecord& record) {
    if (record.length > KeyRecord::kInlineBytes) {
      const std::uint32_t tail = tail_of(record);
      tails_[tail].next_free = free_tail_;
      free_tail_ = tail;
    }
    record.length = 0;
  }

  [[nodiscard]] bool equals(const KeyRecord& record, const LockName& name) const {
    if (record.length != name.key.size() || record.namespace_id != name.namespace_id) return false;
    if (record.length <= KeyRecord::kInlineBytes) {
      return equal_short(record.head.data(), name.key.data(), record.length);
    }
    return std::memcmp(record.head.data(), name.key.data(), kHeadBytes) == 0 &&
           std::memcmp(tails_[tail_of(record)].bytes.data(), name.key.data() + kHeadBytes,
                       record.length - kHeadBytes) == 0;
  }

  // Copies the key into `key`; returns its length in bytes.
  std::size_t copy(const KeyRecord& record,
                   std::array<std::uint8_t, wire::kKeyBytesMax>& key) const {
    if (record.length <= KeyRecord::kInlineBytes) {
      std::memcpy(key.data(), record.head.data(), record.length);
    } else {
      std::memcpy(key.data(), record.head.data(), kHeadBytes);
      std::memcpy(key.data() + kHeadBytes, tails_[tail_of(record)].bytes.data(),
                  record.length - kHeadBytes);
    }
    return record.length;
  }

 private:
  static constexpr std::size_t kHeadBytes = KeyRecord::kInlineBytes - sizeof(std::uint32_t);

  struct Tail {
    union {
      std::array<std::uint8_t, wire::kKeyBytesMax - kHeadBytes> bytes;
      std::uint32_t next_free;
    };
    Tail() : next_free(0) {}
  };

  // Two or three words that overlap, where a call of memcmp would cost more than it compares.
  static bool equal_short(const std::uint8_t* a, const std::uint8_t* b, std::size_t length) {
    const auto differ = [&](std::size_t at) {
      return wire::load<std::uint64_t>(a + at) ^ wire::load<std::uint64_t>(b + at);
    };
    if (length < sizeof(std::uint64_t)) return std::memcmp(a, b, length) == 0;
    std::uint64_t difference = differ(0) | differ(length - sizeof(std::uint64_t));
    if (length > 2 * sizeof(std::uint64_t)) difference |= differ(sizeof(std::uint64_t));
    return difference == 0;
  }

  static std::uint32_t tail_of(const KeyRecord& record) {
    std::uint32_t tail = 0;
    std::memcpy(&tail, record.head.data() + kHeadBytes, sizeof(tail));
    return tail;
  }

  std::pmr::vector<Tail> tails_;
  std::uint32_t free_tail_ = 0;
};

}  // namespace driftlock
