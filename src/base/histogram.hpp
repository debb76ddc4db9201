// LatencyHistogram: counts of durations in powers of two of nanoseconds, 2^kFirstPower and up, with
// one writer and any readers. Coarse on purpose: recording is one increment, and Prometheus wants
// few buckets.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "src/base/counter.hpp"
#include "src/base/time.hpp"

namespace driftlock {

class LatencyHistogram {
 public:
  static constexpr int kFirstPower = 7;  // the first bucket holds durations up to 128 ns
  static constexpr int kBuckets = 24;    // the last finite bound is 2^30 ns, about 1.07 s

  void record(Nanoseconds duration_ns) {
    const auto duration = static_cast<std::uint64_t>(duration_ns < 0 ? 0 : duration_ns);
    counts_[bucket_of(duration)].add();
    sum_ns_.add(duration);
  }

  // Buckets 0 .. kBuckets-1 hold durations up to bound_ns(i); bucket kBuckets holds the rest.
  [[nodiscard]] static constexpr std::uint64_t bound_ns(int bucket) {
    return std::uint64_t{1} << (kFirstPower + bucket);
  }
  [[nodiscard]] static constexpr int bucket_of(std::uint64_t duration_ns) {
    if (duration_ns <= 1) return 0;
    const int power = static_cast<int>(std::bit_width(duration_ns - 1));
    if (power <= kFirstPower) return 0;
    return power - kFirstPower < kBuckets ? power - kFirstPower : kBuckets;
  }
  [[nodiscard]] std::uint64_t count(int bucket) const { return counts_[bucket].read(); }
  [[nodiscard]] std::uint64_t sum_ns() const { return sum_ns_.read(); }

 private:
  std::array<Counter, kBuckets + 1> counts_;
  Counter sum_ns_;
};

}  // namespace driftlock
