// Seqlock<T>: one writer publishes a small value, any number of readers copy it out without a lock
// and without writing shared memory. A reader retries while a write is under way. writer: one
// thread; readers: any (lcores among them). Source: H.-J. Boehm, "Can seqlocks get along with
// programming language memory models?", MSPC 2012.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace driftlock {

template <typename T>
class alignas(64) Seqlock {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Seqlock() { store(T{}); }

  void store(const T& value) {
    Words words{};
    std::memcpy(words.data(), &value, sizeof(T));
    const std::uint32_t sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);
    // The odd sequence becomes visible before any word of the new value.
    std::atomic_thread_fence(std::memory_order_release);
    for (std::size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_relaxed);
    sequence_.store(sequence + 2, std::memory_order_release);
  }

  [[nodiscard]] T load() const {
    T value;
    while (!try_load(value)) {
    }
    return value;
  }

  // False where a write was under way; `value` is then unspecified.
  [[nodiscard]] bool try_load(T& value) const {
    Words words;
    const std::uint32_t before = sequence_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_relaxed);
    // The words are read before the sequence is read again.
    std::atomic_thread_fence(std::memory_order_acquire);
    const std::uint32_t after = sequence_.load(std::memory_order_relaxed);
    std::memcpy(static_cast<void*>(&value), words.data(), sizeof(T));
    return before == after && (before & 1U) == 0;
  }

 private:
  static constexpr std::size_t kWords = (sizeof(T) + 7) / 8;
  using Words = std::array<std::uint64_t, kWords>;

  std::atomic<std::uint32_t> sequence_{0};
  std::array<std::atomic<std::uint64_t>, kWords> words_{};
};

}  // namespace driftlock
