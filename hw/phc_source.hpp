// PhcSource: a PTP hardware clock (/dev/ptpN) read as a clock source, by the tightest method that
// the device offers. Owned by the clock thread. Invariant: the device is only ever read; nothing
// here sets, steps, steers or resets it, since others share it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "src/clock/source.hpp"

namespace driftlock {

// How the device is read, tightest first.
enum class PhcMethod {
  kPrecise,       // PTP_SYS_OFFSET_PRECISE: hardware cross time stamp
  kExtended,      // PTP_SYS_OFFSET_EXTENDED: system time around the register read alone
  kPlain,         // PTP_SYS_OFFSET: system time around the driver's whole read
  kClockGettime,  // clock_gettime on the device's clock id, ticks around the system call
};
[[nodiscard]] std::string_view to_string(PhcMethod method);

struct PhcOptions {
  std::string device = "/dev/ptp0";
  Nanoseconds max_error_ns = 1'000;  // of the PHC against TAI, where nobody reports a better figure
  Nanoseconds to_tai_ns = 0;         // added to the PHC: 0 under PTP, 37 s where it is kept in UTC
  int readings = 5;                  // per sample; the tightest counts. 1 for a rate-limited device
};

class PhcSource final : public ClockSource {
 public:
  // Opens the device read-only and picks the method.
  [[nodiscard]] static Result<std::unique_ptr<PhcSource>> open(const PhcOptions& options);
  ~PhcSource() override;
  PhcSource(const PhcSource&) = delete;
  PhcSource& operator=(const PhcSource&) = delete;

  [[nodiscard]] Result<ClockSample> sample() override;
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] PhcMethod method() const { return method_; }

 private:
  PhcSource(const PhcOptions& options, int descriptor);
  [[nodiscard]] Result<ClockSample> read(PhcMethod method) const;

  PhcOptions options_;
  int descriptor_;
  PhcMethod method_ = PhcMethod::kClockGettime;
};

}  // namespace driftlock
