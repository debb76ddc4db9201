// Small things that the files of the Engine share. Not for others.
#pragma once

#include "src/lock/engine.hpp"

namespace driftlock::engine_internal {

// Microseconds modulo 2^32, never 0, which stands for "not stated".
inline std::uint32_t wrapped_us(Nanoseconds instant_ns) {
  const auto us = static_cast<std::uint32_t>(instant_ns / kMicrosecond);
  return us != 0 ? us : 1;
}

// A client's statement of when it will release; 0 stays "not stated".
inline std::uint32_t predicted_us(Nanoseconds release_ns) {
  return release_ns != 0 ? wrapped_us(release_ns) : 0;
}

// A duration off the wire, where it is unsigned.
inline Nanoseconds duration_of(std::uint64_t wire_ns) {
  return static_cast<Nanoseconds>(std::min(wire_ns, static_cast<std::uint64_t>(kNever)));
}

inline LockName name_of(const wire::Request& request) {
  return {request.namespace_id, request.key_bytes()};
}

inline constexpr int kTokenCounterBits = 40;

}  // namespace driftlock::engine_internal
