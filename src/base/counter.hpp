// Counter: a number one thread raises and any thread reads. No read-modify-write instruction, hence
// nothing on the fast path that a scrape could slow down.
#pragma once

#include <atomic>
#include <cstdint>

namespace driftlock {

class Counter {
 public:
  void add(std::uint64_t amount = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t read() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};  // writer: the owner's thread
};

}  // namespace driftlock
