// Whether a NIC's receive stamps can be believed: what clock they are read from, by pairs of
// readings of that clock and of the PHC (or any clock in nanoseconds) taken at start. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.hpp"
#include "src/base/time.hpp"

namespace driftlock {

// The stamp clock stood at `device` when the PHC stood at `phc_ns`, give or take `half_width_ns`.
struct StampReading {
  std::uint64_t device = 0;
  Nanoseconds phc_ns = 0;
  Nanoseconds half_width_ns = 0;
};

enum class StampUnit {
  kPhcNanoseconds,  // the PHC itself, all of it or its low bits
  kCounter,         // another counter that runs evenly
};

struct StampClaim {
  StampUnit unit = StampUnit::kPhcNanoseconds;
  unsigned bits = 64;  // of the stamps; they wrap
};

// An Error, saying what does not fit, where the readings contradict the claim: a clock that stands
// still or runs unevenly, another unit, another epoch. `phc` is its name, for the message.
[[nodiscard]] Status check_stamp_clock(std::span<const StampReading> readings,
                                       const StampClaim& claim, const std::string& phc);

}  // namespace driftlock
