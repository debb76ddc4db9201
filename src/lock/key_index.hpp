// KeyIndex: from a key's 64-bit hash to the numbers of the locks that may have it. A bucket is one
// cache line of ten entries with a 16-bit tag each, so that a look-up costs one memory access
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
      : primary_(entries_max / kPerBucketAimed + 1),
        buckets_(std::size_t{primary_} + primary_ / 8 + 8, memory) {
    for (std::uint32_t i = primary_; i < buckets_.size(); ++i) {
      buckets_[i].overflow = i + 1 < buckets_.size() ? i + 1 : kNil;
    }
    free_overflow_ = primary_;
  }

  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&buckets_[home(hash)], 1); }

  // The first entry for which matches(entry) is true among those whose tag fits; kNil if none.
  template <typename Matches>
  [[nodiscard]] std::uint32_t find(std::uint64_t hash, Matches&& matches) const {
    for (std::uint32_t at = home(hash); at != kNil; at = buckets_[at].overflow) {
      const Bucket& bucket = buckets_[at];
      for (std::uint32_t mask = bucket.with_tag(tag(hash)); mask != 0; mask &= mask - 1) {
        const std::uint32_t entry = bucket.entries[place_of(mask)];
        if (matches(entry)) return entry;
      }
    }
    return kNil;
  }

  // False where the bucket and all overflow buckets are full.
  [[nodiscard]] bool insert(std::uint64_t hash, std::uint32_t entry) {
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
  void erase(std::uint64_t hash, std::uint32_t entry) {
    std::uint32_t previous = kNil;
    for (std::uint32_t at = home(hash); at != kNil; previous = at, at = buckets_[at].overflow) {
      Bucket& bucket = buckets_[at];
      if (!bucket.take_out(entry, tag(hash))) continue;
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
  static constexpr std::size_t kEntries = 10;
  static constexpr std::uint32_t kPerBucketAimed = 6;  // at most, when the table is full
  static constexpr std::uint16_t kVacant = 0;          // no entry's tag

  static std::size_t place_of(std::uint32_t mask) {
    return static_cast<std::size_t>(std::countr_zero(mask));
  }

  struct alignas(64) Bucket {
    std::array<std::uint16_t, kEntries> tags{};
    std::uint32_t overflow = kNil;  // next bucket of the chain, or of the free ones
    std::array<std::uint32_t, kEntries> entries{};

    // Bit i: tags[i] is `tag`.
    [[nodiscard]] std::uint32_t with_tag(std::uint16_t tag) const {
#if defined(__SSE2__)
      // The second comparison reads on into `overflow` and the entries: masked.
      const auto* line = reinterpret_cast<const __m128i*>(this);
      const __m128i wanted = _mm_set1_epi16(static_cast<short>(tag));
      const __m128i low = _mm_cmpeq_epi16(_mm_load_si128(line), wanted);
      const __m128i high = _mm_cmpeq_epi16(_mm_load_si128(line + 1), wanted);
      const int bits = _mm_movemask_epi8(_mm_packs_epi16(low, high));
      return static_cast<std::uint32_t>(bits) & ((1U << kEntries) - 1);
#else
      std::uint32_t mask = 0;
      for (std::size_t i = 0; i < kEntries; ++i) mask |= std::uint32_t{tags[i] == tag} << i;
      return mask;
#endif
    }
    [[nodiscard]] bool put(std::uint32_t entry, std::uint16_t tag) {
      const std::uint32_t vacant = with_tag(kVacant);
      if (vacant == 0) return false;
      entries[place_of(vacant)] = entry;
      tags[place_of(vacant)] = tag;
      return true;
    }
    [[nodiscard]] bool take_out(std::uint32_t entry, std::uint16_t tag) {
      for (std::uint32_t mask = with_tag(tag); mask != 0; mask &= mask - 1) {
        if (entries[place_of(mask)] != entry) continue;
        tags[place_of(mask)] = kVacant;
        return true;
      }
      return false;
    }
    [[nodiscard]] bool empty() const {
      return with_tag(kVacant) == (1U << kEntries) - 1;
    }
  };
  static_assert(sizeof(Bucket) == 64);

  // The hash's lower half, as a fraction of 2^32, says which bucket; its uppermost bits are the
  // tag.
  [[nodiscard]] std::uint32_t home(std::uint64_t hash) const {
    return static_cast<std::uint32_t>(((hash & 0xFFFFFFFF) * primary_) >> 32);
  }
  [[nodiscard]] static std::uint16_t tag(std::uint64_t hash) {
    const auto top = static_cast<std::uint16_t>(hash >> 48);
    return top == kVacant ? std::uint16_t{1} : top;
  }

  std::uint32_t primary_;
  std::pmr::vector<Bucket> buckets_;  // primary_ of them, then the overflow buckets
  std::uint32_t free_overflow_ = kNil;
};

}  // namespace driftlock
