// Random: the simulator's only source of chance: xoshiro256** (D. Blackman, S. Vigna, 2018), seeded
// by splitmix64 from a seed and the number of a stream. Own code, so that a seed means the same
// everywhere. Owned by one thread.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "src/base/time.hpp"

namespace driftlock::sim {

class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) {
    std::uint64_t mixed = seed ^ (stream * 0xD1B54A32D192ED03ULL);
    for (std::uint64_t& word : state_) {
      mixed += 0x9E3779B97F4A7C15ULL;
      std::uint64_t z = mixed;
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
      word = z ^ (z >> 31);
    }
  }

  std::uint64_t next() {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }
  // In [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  // In [-1, 1).
  double both_ways() { return 2.0 * unit() - 1.0; }
  std::uint64_t below(std::uint64_t count) { return next() % count; }
  bool chance(double probability) { return unit() < probability; }
  Nanoseconds between(Nanoseconds low, Nanoseconds high) {
    return low + static_cast<Nanoseconds>(unit() * static_cast<double>(high - low));
  }
  // Between the two with equal weight for every order of magnitude.
  Nanoseconds spread(Nanoseconds low, Nanoseconds high) {
    const double ratio = static_cast<double>(high) / static_cast<double>(low);
    return static_cast<Nanoseconds>(static_cast<double>(low) * std::pow(ratio, unit()));
  }
  Nanoseconds exponential(Nanoseconds mean) {
    return static_cast<Nanoseconds>(-std::log1p(-unit()) * static_cast<double>(mean));
  }

 private:
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace driftlock::sim
