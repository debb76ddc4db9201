// KeyStore: the names of the locks in a LockTable, one 32-byte record per lock beside the lock's
// own cache line. A key longer than kInlineBytes keeps its end in a shared pool. Owned by one
// lcore.
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

class KeyStore {
 public:
  KeyStore(std::uint32_t locks_max, std::uint32_t long_keys_max, std::pmr::memory_resource* memory)
      : names_(locks_max, memory), tails_(long_keys_max, memory) {
    for (std::uint32_t i = 0; i < long_keys_max; ++i) tails_[i].next_free = i + 1;
  }

  // False where the key is long and the pool for long keys is used up.
  [[nodiscard]] bool put(std::uint32_t lock, const LockName& name) {
    Name& record = names_[lock];
    record.namespace_id = name.namespace_id;
    record.length = static_cast<std::uint8_t>(name.key.size());
    if (name.key.size() <= kInlineBytes) {
      std::memcpy(record.head.data(), name.key.data(), name.key.size());
      return true;
    }
    if (free_tail_ == tails_.size()) return false;
    const std::uint32_t tail = free_tail_;
    free_tail_ = tails_[tail].next_free;
    std::memcpy(record.head.data(), name.key.data(), kHeadBytes);
    std::memcpy(record.head.data() + kHeadBytes, &tail, sizeof(tail));
    std::memcpy(tails_[tail].bytes.data(), name.key.data() + kHeadBytes,
                name.key.size() - kHeadBytes);
    return true;
  }

  void erase(std::uint32_t lock) {
    Name& record = names_[lock];
    if (record.length > kInlineBytes) {
      const std::uint32_t tail = tail_of(record);
      tails_[tail].next_free = free_tail_;
      free_tail_ = tail;
    }
    record.length = 0;
  }

  [[nodiscard]] bool equals(std::uint32_t lock, const LockName& name) const {
    const Name& record = names_[lock];
    if (record.length != name.key.size() || record.namespace_id != name.namespace_id) return false;
    if (record.length <= kInlineBytes) {
      return std::memcmp(record.head.data(), name.key.data(), record.length) == 0;
    }
    return std::memcmp(record.head.data(), name.key.data(), kHeadBytes) == 0 &&
           std::memcmp(tails_[tail_of(record)].bytes.data(), name.key.data() + kHeadBytes,
                       record.length - kHeadBytes) == 0;
  }

  // Copies the key into `key`; returns its length in bytes.
  std::size_t copy(std::uint32_t lock, std::uint16_t& namespace_id,
                   std::array<std::uint8_t, wire::kKeyBytesMax>& key) const {
    const Name& record = names_[lock];
    namespace_id = record.namespace_id;
    if (record.length <= kInlineBytes) {
      std::memcpy(key.data(), record.head.data(), record.length);
    } else {
      std::memcpy(key.data(), record.head.data(), kHeadBytes);
      std::memcpy(key.data() + kHeadBytes, tails_[tail_of(record)].bytes.data(),
                  record.length - kHeadBytes);
    }
    return record.length;
  }

  [[nodiscard]] std::uint16_t namespace_of(std::uint32_t lock) const {
    return names_[lock].namespace_id;
  }

  void prefetch(std::uint32_t lock) const { __builtin_prefetch(&names_[lock]); }

  [[nodiscard]] static constexpr std::size_t bytes_per_lock() { return sizeof(Name); }

 private:
  static constexpr std::size_t kInlineBytes = 28;
  static constexpr std::size_t kHeadBytes = kInlineBytes - sizeof(std::uint32_t);

  struct alignas(32) Name {
    std::uint16_t namespace_id = 0;
    std::uint8_t length = 0;
    std::uint8_t reserved = 0;
    // The whole key, or its first kHeadBytes and the index of its tail.
    std::array<std::uint8_t, kInlineBytes> head{};
  };
  static_assert(sizeof(Name) == 32);

  struct Tail {
    union {
      std::array<std::uint8_t, wire::kKeyBytesMax - kHeadBytes> bytes;
      std::uint32_t next_free;
    };
    Tail() : next_free(0) {}
  };

  static std::uint32_t tail_of(const Name& record) {
    std::uint32_t tail = 0;
    std::memcpy(&tail, record.head.data() + kHeadBytes, sizeof(tail));
    return tail;
  }

  std::pmr::vector<Name> names_;
  std::pmr::vector<Tail> tails_;
  std::uint32_t free_tail_ = 0;
};

}  // namespace driftlock
