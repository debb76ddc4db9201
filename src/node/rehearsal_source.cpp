#include "src/node/rehearsal_source.hpp"

#include <algorithm>
#include <ctime>

#include "hw/tick_counter.hpp"

namespace driftlock {
namespace {

constexpr Nanoseconds kAdmittedErrorNs = 10 * kMicrosecond;
constexpr Nanoseconds kTaiOffset = 37 * kSecond;

// The system's time and the tick counts around its reading: the tightest of a few.
ClockSample read_system() {
  constexpr int kReadings = 5;
  ClockSample best;
  for (int i = 0; i < kReadings; ++i) {
    timespec now{};
    ClockSample sample;
    sample.ticks_before = read_ticks();
    clock_gettime(CLOCK_REALTIME, &now);
    sample.ticks_after = read_ticks();
    sample.tai_ns = now.tv_sec * kSecond + now.tv_nsec + kTaiOffset;
    if (i == 0 || sample.ticks_after - sample.ticks_before < best.ticks_after - best.ticks_before) {
      best = sample;
    }
  }
  return best;
}

}  // namespace

RehearsalSource::RehearsalSource()
    : tai_ns_(read_system().tai_ns), source_({.ns_per_tick = nominal_ns_per_tick()}, tai_ns_, 1) {
  source_.faults().max_error_ns = kAdmittedErrorNs;
}

// The truth is the system's time, so that the nodes of one machine rehearse against each other; the
// faults are simulated. A system clock that was set back is waited for.
Result<ClockSample> RehearsalSource::sample() {
  const std::lock_guard lock(mutex_);
  const ClockSample system = read_system();
  source_.advance(std::max<Nanoseconds>(system.tai_ns - tai_ns_, 0));
  tai_ns_ = std::max(tai_ns_, system.tai_ns);
  Result<ClockSample> sample = source_.sample();
  if (sample.ok()) {
    const std::uint64_t simulated = sample->ticks_after - sample->ticks_before;
    sample->ticks_before = system.ticks_before - simulated;
    sample->ticks_after = system.ticks_after;
  }
  return sample;
}

void RehearsalSource::set_faults(const SimulatedFaults& faults) {
  const std::lock_guard lock(mutex_);
  source_.faults() = faults;
}

SimulatedFaults RehearsalSource::faults() const {
  const std::lock_guard lock(mutex_);
  SimulatedSource copy = source_;
  return copy.faults();
}

}  // namespace driftlock
