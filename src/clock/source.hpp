// ClockSource: something outside that says what time it is (a PHC, the kernel's disciplined clock,
// chrony, a simulation). Implemented in hw and in the simulator; sampled by the clock thread alone.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/result.hpp"
#include "src/base/time.hpp"

namespace driftlock {

// One reading. The true instant of `tai_ns` lies between the two tick counts (the read sandwich).
struct ClockSample {
  std::uint64_t ticks_before = 0;
  std::uint64_t ticks_after = 0;
  Nanoseconds tai_ns = 0;
  Nanoseconds max_error_ns = 0;  // hard: what the source itself admits to, path asymmetry included
  Nanoseconds estimated_error_ns =
      0;                      // statistical, one standard deviation; 0 = the source does not say
  double noise_ns = 0.0;      // scatter of one reading, standard deviation; 0 = not known
  double steering_ppb = 0.0;  // frequency adjustment that the source's servo applies now
  bool synchronized = false;  // the source says that it follows a reference
};

class ClockSource {
 public:
  virtual ~ClockSource() = default;
  // A source that cannot be read just now is an Error; the clock thread carries on in holdover.
  [[nodiscard]] virtual Result<ClockSample> sample() = 0;
  // For people and metrics: "phc:/dev/ptp0", "system", "simulated".
  [[nodiscard]] virtual std::string name() const = 0;
};

}  // namespace driftlock
