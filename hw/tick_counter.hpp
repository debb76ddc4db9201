// The node's tick counter: the invariant TSC where the processor has one, CLOCK_MONOTONIC_RAW
// elsewhere. Every local instant in driftlock is counted in these ticks; the clock maps them to
// TAI.
#pragma once

#include <cstdint>
#include <ctime>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace driftlock {

[[nodiscard]] inline std::uint64_t read_ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
#endif
}

// Nominal length of a tick, measured once against CLOCK_MONOTONIC_RAW (takes 50 ms the first time).
// The clock's filter absorbs what this is off by.
[[nodiscard]] double nominal_ns_per_tick();

// True where the counter runs at one rate in every state and on every core (invariant TSC).
[[nodiscard]] bool ticks_are_invariant();

}  // namespace driftlock
