// The published interval beside the kernel's clock, in one run: what an lcore pays for the time (a
// snapshot that it holds), what a first reading pays (the seqlock as well), clock_gettime.
#include <benchmark/benchmark.h>

#include <ctime>

#include "hw/tick_counter.hpp"
#include "src/base/seqlock.hpp"
#include "src/clock/snapshot.hpp"

namespace driftlock {
namespace {

ClockSnapshot any_snapshot() {
  ClockSnapshot snapshot;
  snapshot.anchor_ticks = read_ticks();
  snapshot.anchor_tai_ns = 1'700'000'000 * kSecond;
  snapshot.hard_earliest_ns = snapshot.anchor_tai_ns - 1'000;
  snapshot.hard_latest_ns = snapshot.anchor_tai_ns + 1'000;
  snapshot.tai_ns_per_tick = nominal_ns_per_tick();
  snapshot.min_tai_ns_per_tick = snapshot.tai_ns_per_tick * 0.99995;
  snapshot.max_tai_ns_per_tick = snapshot.tai_ns_per_tick * 1.00005;
  for (double& v : snapshot.variance) v = 1e-3;
  snapshot.lost_ns = 3'600 * kSecond;
  snapshot.holdover_after_ns = 3'600 * kSecond;
  snapshot.state = ClockState::kSync;
  return snapshot;
}

void interval_from_seqlock(benchmark::State& state) {
  Seqlock<ClockSnapshot> published;
  published.store(any_snapshot());
  for (auto _ : state) {
    const ClockReading reading = read_clock(published.load(), read_ticks());
    benchmark::DoNotOptimize(reading);
  }
}
BENCHMARK(interval_from_seqlock);

void interval_from_held_snapshot(benchmark::State& state) {
  const ClockSnapshot snapshot = any_snapshot();
  for (auto _ : state) {
    const ClockReading reading = read_clock(snapshot, read_ticks());
    benchmark::DoNotOptimize(reading);
  }
}
BENCHMARK(interval_from_held_snapshot);

void clock_gettime_realtime(benchmark::State& state) {
  for (auto _ : state) {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    benchmark::DoNotOptimize(now);
  }
}
BENCHMARK(clock_gettime_realtime);

}  // namespace
}  // namespace driftlock

BENCHMARK_MAIN();
