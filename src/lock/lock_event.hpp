// LockEvent: what happens to a lock, for who predicts what will. The engine notes them on its lcore
// in a ring, which is taken after each turn; a full ring loses the newest.
#pragma once

#include <array>
#include <cstdint>

#include "src/base/time.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {

struct LockEvent {
  enum class Kind : std::uint8_t {
    kAsked,     // a fresh acquire has come
    kGranted,   // `span_ns`: what it waited; `recall_ns`: of that, for a grant in advance
    kUsed,      // a grant in advance: `span_ns` from its arrival to its use
    kCrossed,   // the same, by a request that was under way: `span_ns` since the lock was free
    kReturned,  // unused; `recall_ns`: since it was called back, 0: it was not
    kReleased,  // `span_ns`: how long it was held
    kFreed,     // nobody has it, nobody waits; it is `name`d
  };
  Kind kind = Kind::kAsked;
  bool after_used = false;  // released, granted: the one before had it in advance, and used it
  std::uint32_t session = 0xFFFFFFFF;
  std::uint64_t key_hash = 0;
  Nanoseconds at_ns = 0;  // the node's clock, middle of its interval
  Nanoseconds span_ns = 0;
  Nanoseconds recall_ns = 0;
  std::uint16_t namespace_id = 0;
  std::uint8_t key_length = 0;
  std::array<std::uint8_t, wire::kKeyBytesMax> key{};
};

}  // namespace driftlock
