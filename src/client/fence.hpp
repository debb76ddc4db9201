// FenceGate: what a resource does with fencing tokens: it refuses whoever comes with a lower token
// than it has seen. One gate per lock, beside what the lock guards; any number of threads. A
// resource that outlives its process must keep the token where it keeps its data
// (docs/fencing.sql).
#pragma once

#include <atomic>
#include <cstdint>

namespace driftlock {

class FenceGate {
 public:
  // `seen`: the highest token of the resource's life before.
  explicit FenceGate(std::uint64_t seen = 0) : seen_(seen) {}

  // True where whoever brings `token` may act. Call it in the same step as the write it guards, or
  // under the resource's own lock: between this and the write a higher token may come.
  [[nodiscard]] bool admit(std::uint64_t token) {
    std::uint64_t seen = seen_.load(std::memory_order_acquire);
    while (token > seen) {
      if (seen_.compare_exchange_weak(seen, token, std::memory_order_acq_rel)) return true;
    }
    return token == seen;
  }
  [[nodiscard]] std::uint64_t seen() const { return seen_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::uint64_t> seen_;
};

}  // namespace driftlock
