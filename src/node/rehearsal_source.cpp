#include "src/node/rehearsal_source.hpp"

#include <ctime>

#include "hw/tick_counter.hpp"

namespace driftlock {
namespace {

constexpr Nanoseconds kAdmittedErrorNs = 10 * kMicrosecond;
constexpr Nanoseconds kTaiOffset = 37 * kSecond;

Nanoseconds roughly_now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * kSecond + now.tv_nsec + kTaiOffset;
}

}  // namespace

RehearsalSource::RehearsalSource()
    : ns_per_tick_(nominal_ns_per_tick()),
      ticks_(read_ticks()),
      source_({.ns_per_tick = ns_per_tick_}, roughly_now(), 1) {
  source_.faults().max_error_ns = kAdmittedErrorNs;
}

Result<ClockSample> RehearsalSource::sample() {
  const std::lock_guard lock(mutex_);
  const std::uint64_t ticks = read_ticks();
  source_.advance(
      static_cast<Nanoseconds>(static_cast<double>(ticks - ticks_) * ns_per_tick_ + 0.5));
  ticks_ = ticks;
  Result<ClockSample> sample = source_.sample();
  if (sample.ok()) {
    // The simulated oscillator counts like the real one; only its origin is another.
    sample->ticks_before = ticks - (sample->ticks_after - sample->ticks_before);
    sample->ticks_after = ticks;
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
