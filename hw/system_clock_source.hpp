// SystemClockSource: the kernel's clock as a source, with what its NTP discipline says of it
// (adjtimex: synchronized or not, maximum and estimated error, TAI offset, steering). Owned by the
// clock thread. Invariant: reads only; an unsynchronized kernel clock is refused unless the
// operator has said how far off it can be.
#pragma once

#include <string>

#include "src/clock/source.hpp"

namespace driftlock {

struct SystemClockOptions {
  // A kernel clock that nobody disciplines is used all the same, as if its error were at most
  // assumed_error_ns. For one machine alone: against others its times mean nothing.
  bool trust_unsynchronized = false;
  Nanoseconds assumed_error_ns = 10 * kMillisecond;
  int default_tai_offset_s = 37;  // where the kernel was never told (offset 0)
  int readings = 5;               // per sample; the tightest counts
};

// What the kernel says of its clock.
struct KernelClockState {
  bool synchronized = false;
  Nanoseconds max_error_ns = 0;
  Nanoseconds estimated_error_ns = 0;
  double steering_ppb = 0.0;
  int tai_offset_s = 0;  // 0: the kernel was never told
};

// Fills in what the state says; an Error where the options do not allow such a clock. Pure.
[[nodiscard]] Result<ClockSample> judge_kernel_clock(const SystemClockOptions& options,
                                                     const KernelClockState& state,
                                                     const ClockSample& reading);

class SystemClockSource final : public ClockSource {
 public:
  explicit SystemClockSource(const SystemClockOptions& options);

  [[nodiscard]] Result<ClockSample> sample() override;
  [[nodiscard]] std::string name() const override;

 private:
  SystemClockOptions options_;
  bool unsynchronized_ = false;  // at the latest sample
};

}  // namespace driftlock
