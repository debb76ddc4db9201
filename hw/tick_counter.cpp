#include "hw/tick_counter.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace driftlock {
namespace {

std::int64_t monotonic_raw_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// A reading of both clocks, the tightest of several, since the thread may be preempted between
// them.
struct Pair {
  std::uint64_t ticks = 0;
  std::int64_t raw_ns = 0;
};

Pair read_pair() {
  Pair best;
  std::uint64_t best_width = ~std::uint64_t{0};
  for (int attempt = 0; attempt < 16; ++attempt) {
    const std::uint64_t before = read_ticks();
    const std::int64_t raw_ns = monotonic_raw_ns();
    const std::uint64_t after = read_ticks();
    if (after - before < best_width) {
      best_width = after - before;
      best = {before + (after - before) / 2, raw_ns};
    }
  }
  return best;
}

double measure_ns_per_tick() {
  constexpr std::int64_t kCalibrationNs = 50'000'000;
  const Pair start = read_pair();
  Pair end = start;
  while (end.raw_ns - start.raw_ns < kCalibrationNs) {
    const timespec pause{0, kCalibrationNs / 4};
    nanosleep(&pause, nullptr);
    end = read_pair();
  }
  return static_cast<double>(end.raw_ns - start.raw_ns) /
         static_cast<double>(end.ticks - start.ticks);
}

}  // namespace

double nominal_ns_per_tick() {
  static const double measured = measure_ns_per_tick();
  return measured;
}

bool ticks_are_invariant() {
#if defined(__x86_64__)
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned kAdvancedPowerManagement = 0x80000007;
  constexpr unsigned kInvariantTsc = 1U << 8;
  return __get_cpuid(kAdvancedPowerManagement, &eax, &ebx, &ecx, &edx) != 0 &&
         (edx & kInvariantTsc) != 0;
#else
  return true;
#endif
}

}  // namespace driftlock
