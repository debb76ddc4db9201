#include "hw/system_clock_source.hpp"

#include <sys/timex.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "hw/tick_counter.hpp"

namespace driftlock {
namespace {

// Beyond this NTP itself calls a clock unsynchronized (the kernel's MAXPHASE is 16 s).
constexpr Nanoseconds kHopelessErrorNs = 16 * kSecond;

Result<KernelClockState> kernel_state() {
  timex kernel{};
  const int status = adjtimex(&kernel);
  if (status < 0) return Error{std::string("adjtimex: ") + std::strerror(errno)};
  KernelClockState state;
  state.max_error_ns = Nanoseconds{kernel.maxerror} * kMicrosecond;
  state.estimated_error_ns = Nanoseconds{kernel.esterror} * kMicrosecond;
  state.synchronized = status != TIME_ERROR && (kernel.status & STA_UNSYNC) == 0 &&
                       state.max_error_ns < kHopelessErrorNs;
  // ppm in 16-bit fractions, and microseconds in the hundredth of a second that a tick stands for.
  state.steering_ppb = static_cast<double>(kernel.freq) * 1000.0 / 65536.0 +
                       static_cast<double>(kernel.tick - 10'000) * 1e5;
  state.tai_offset_s = kernel.tai;
  return state;
}

// CLOCK_TAI runs through a leap second without repeating; it equals CLOCK_REALTIME where the kernel
// does not know the offset.
ClockSample tightest_reading(int readings) {
  ClockSample best;
  for (int i = 0; i < readings; ++i) {
    timespec now{};
    ClockSample sample;
    sample.ticks_before = read_ticks();
    clock_gettime(CLOCK_TAI, &now);
    sample.ticks_after = read_ticks();
    sample.tai_ns = Nanoseconds{now.tv_sec} * kSecond + now.tv_nsec;
    if (i == 0 || sample.ticks_after - sample.ticks_before < best.ticks_after - best.ticks_before) {
      best = sample;
    }
  }
  return best;
}

}  // namespace

Result<ClockSample> judge_kernel_clock(const SystemClockOptions& options,
                                       const KernelClockState& state, const ClockSample& reading) {
  ClockSample sample = reading;
  if (state.tai_offset_s == 0) sample.tai_ns += options.default_tai_offset_s * kSecond;
  sample.steering_ppb = state.steering_ppb;
  sample.synchronized = true;
  sample.max_error_ns = state.max_error_ns;
  sample.estimated_error_ns = state.estimated_error_ns;
  if (state.synchronized) return sample;
  if (!options.trust_unsynchronized) {
    return Error{
        "the kernel's clock is not synchronized (STA_UNSYNC): run chrony or ptp4l with phc2sys, "
        "or, on one machine alone, set trust_unsynchronized and its assumed error"};
  }
  sample.max_error_ns = options.assumed_error_ns;
  sample.estimated_error_ns = options.assumed_error_ns / 3;
  return sample;
}

SystemClockSource::SystemClockSource(const SystemClockOptions& options) : options_(options) {}

Result<ClockSample> SystemClockSource::sample() {
  const Result<KernelClockState> state = kernel_state();
  if (!state.ok()) return state.error();
  unsynchronized_ = !state->synchronized;
  return judge_kernel_clock(options_, state.value(), tightest_reading(options_.readings));
}

std::string SystemClockSource::name() const {
  if (!unsynchronized_) return "system";
  return options_.trust_unsynchronized ? "system (unsynchronized, error assumed)"
                                       : "system (unsynchronized)";
}

}  // namespace driftlock
