// Chance: which peer is asked next, and the nonces. splitmix64 (G. Steele, D. Lea, C. Flood, 2014):
// eight bytes of state, so that ten thousand nodes fit a simulation. Not for secrets: a nonce here
// has to be new, not hidden. Owned by one thread.
#pragma once

#include <cstdint>

namespace driftlock {

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }
  // In [0, bound), bound below 2^32 and not 0.
  std::uint64_t below(std::uint64_t bound) { return ((next() >> 32) * bound) >> 32; }
  // In [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace driftlock
