// NonceSource: numbers nobody else can guess, from one random seed: HighwayHash of a counter under
// the seed. The same seed gives the same numbers, which is what the simulator needs.
#pragma once

#include <cstdint>
#include <span>

#include "src/lock/mac.hpp"
#include "src/lock/wire.hpp"

namespace driftlock::client {

class NonceSource {
 public:
  explicit NonceSource(const SecretKey& seed) : seed_(seed) {}

  [[nodiscard]] wire::Bytes16 next_bytes() {
    ++counter_;
    std::uint8_t message[sizeof(counter_)];
    wire::store(message, counter_);
    return compute_mac(seed_, message);
  }
  [[nodiscard]] std::uint64_t next() {
    const wire::Bytes16 bytes = next_bytes();
    return wire::load<std::uint64_t>(bytes.data());
  }
  // `duration` times a factor uniform in [1 - spread, 1 + spread].
  [[nodiscard]] Nanoseconds jittered(Nanoseconds duration_ns, double spread) {
    const double unit = static_cast<double>(next() >> 11) * 0x1.0p-53;
    return static_cast<Nanoseconds>(static_cast<double>(duration_ns) *
                                    (1.0 + spread * (2.0 * unit - 1.0)));
  }

 private:
  SecretKey seed_;
  std::uint64_t counter_ = 0;
};

}  // namespace driftlock::client
