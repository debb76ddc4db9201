// KeyIndex: from a key's 32-bit hash to the numbers of the locks that may have it. A bucket is one
// cache line of twelve entries with an 8-bit tag each, so that a look-up costs one memory access
// whatever the chain behind it in a simpler table would be; a full bucket goes on in an overflow
// bucket. Owned by one lcore; nothing is allocated after construction.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <memory_resource>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "src/base/assert.hpp"

namespace driftlock {

inline constexpr std::uint32_t kNil = 0xFFFFFFFF;  // no index

class KeyIndex {
 public:
  KeyIndex(std::uint32_t entries_max, std::pmr::memory_resource* memory)
      : primary_(std::bit_ceil(std::max<std::uint32_t>(entries_max / kPerBucketAimed, 1))),
        buckets_(std::size_t{primary_} + primary_ / 4 + 8, memory) {
    // Tags are the hash's top byte: no bucket number may reach into it.
    DRIFTLOCK_ASSERT(primary_ <= (1U << 24));
    for (std::uint32_t i = primary_; i < buckets_.size(); ++i) {
      buckets_[i].overflow = i + 1 < buckets_.size() ? i + 1 : kNil;
    }
    free_overflow_ = primary_;
  }

  void prefetch(std::uint32_t hash) const { __builtin_prefetch(&buckets_[home(hash)]); }

  // The first entry for which matches(entry) is true among those whose tag fits; kNil if none.
  template <typename Matches>
  [[nodiscard]] std::uint32_t find(std::uint32_t hash, Matches&& matches) const {
    for (std::uint32_t at = home(hash); at != kNil; at = buckets_[at].overflow) {
      const Bucket& bucket = buckets_[at];
      for (std::uint32_t mask = bucket.with_tag(tag(hash)); mask != 0; mask &= mask - 1) {
        const std::uint32_t entry =
            bucket.entries[static_cast<std::size_t>(std::countr_zero(mask))];
        if (entry != kNil && matches(entry)) return entry;
      }
    }
    return kNil;
  }

  // False where the bucket and all overflow buckets are full.
  [[nodiscard]] bool insert(std::uint32_t hash, std::uint32_t entry) {
    std::uint32_t at = home(hash);
    while (!buckets_[at].put(entry, tag(hash))) {
      if (buckets_[at].overflow == kNil) {
        if (free_overflow_ == kNil) return false;
        const std::uint32_t fresh = free_overflow_;
        free_overflow_ = buckets_[fresh].overflow;
        buckets_[fresh].overflow = kNil;
        buckets_[at].overflow = fresh;
      }
      at = buckets_[at].overflow;
    }
    return true;
  }

  // The entry must be in the index, under this hash.
  void erase(std::uint32_t hash, std::uint32_t entry) {
    std::uint32_t previous = kNil;
    for (std::uint32_t at = home(hash); at != kNil; previous = at, at = buckets_[at].overflow) {
      Bucket& bucket = buckets_[at];
      const auto found = std::find(bucket.entries.begin(), bucket.entries.end(), entry);
      if (found == bucket.entries.end()) continue;
      *found = kNil;
      if (previous != kNil && bucket.empty()) {
        buckets_[previous].overflow = bucket.overflow;
        bucket.overflow = free_overflow_;
        free_overflow_ = at;
      }
      return;
    }
    DRIFTLOCK_ASSERT(false && "erase of an entry that is not in the index");
  }

  [[nodiscard]] std::size_t bytes() const { return buckets_.size() * sizeof(Bucket); }

 private:
  static constexpr std::size_t kEntries = 12;
  static constexpr std::uint32_t kPerBucketAimed = 8;  // at most, when the table is full

  struct alignas(64) Bucket {
    std::array<std::uint32_t, kEntries> entries;
    std::array<std::uint8_t, kEntries> tags;
    std::uint32_t overflow = kNil;  // next bucket of the chain, or of the free ones

    Bucket() : tags{} { entries.fill(kNil); }

    // Bit i: tags[i] is `tag`.
    [[nodiscard]] std::uint32_t with_tag(std::uint8_t tag) const {
#if defined(__SSE2__)
      const __m128i line = _mm_loadu_si128(reinterpret_cast<const __m128i*>(tags.data()));
      const __m128i equal = _mm_cmpeq_epi8(line, _mm_set1_epi8(static_cast<char>(tag)));
      return static_cast<std::uint32_t>(_mm_movemask_epi8(equal)) & ((1U << kEntries) - 1);
#else
      std::uint32_t mask = 0;
      for (std::size_t i = 0; i < kEntries; ++i) mask |= std::uint32_t{tags[i] == tag} << i;
      return mask;
#endif
    }
    [[nodiscard]] bool put(std::uint32_t entry, std::uint8_t tag) {
      const auto vacant = std::find(entries.begin(), entries.end(), kNil);
      if (vacant == entries.end()) return false;
      *vacant = entry;
      tags[static_cast<std::size_t>(vacant - entries.begin())] = tag;
      return true;
    }
    [[nodiscard]] bool empty() const {
      return std::all_of(entries.begin(), entries.end(),
                         [](std::uint32_t entry) { return entry == kNil; });
    }
  };
  static_assert(sizeof(Bucket) == 64);

  [[nodiscard]] std::uint32_t home(std::uint32_t hash) const {
    return hash & (primary_ - 1);
  }
  [[nodiscard]] static std::uint8_t tag(std::uint32_t hash) {
    return static_cast<std::uint8_t>(hash >> 24);
  }

  std::uint32_t primary_;
  std::pmr::vector<Bucket> buckets_;  // primary_ of them, then the overflow buckets
  std::uint32_t free_overflow_ = kNil;
};

}  // namespace driftlock
