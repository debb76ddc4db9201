// chronyd's command protocol, version 6 (candm.h of chrony 4): the request for its tracking report,
// and the report. Pure: bytes in, values out. Whatever does not fit is refused, nothing is trusted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "src/base/result.hpp"
#include "src/base/time.hpp"

namespace driftlock {

struct ChronyTracking {
  std::uint32_t reference_id = 0;  // 0x7F7F0101: its own clock (`local`)
  std::uint16_t stratum = 0;
  std::uint16_t leap_status = 3;  // 3 = not synchronized
  double correction_s = 0.0;      // what it has still to slew away
  double rms_offset_s = 0.0;
  double frequency_ppm = 0.0;
  double skew_ppm = 0.0;
  double root_delay_s = 0.0;
  double root_dispersion_s = 0.0;
};

// A request is as long as the reply to it, so that nobody gains by a false address.
inline constexpr std::size_t kChronyTrackingBytes = 104;
[[nodiscard]] std::array<std::uint8_t, kChronyTrackingBytes> chrony_tracking_request(
    std::uint32_t sequence);

// None where it is no answer to `sequence`, or malformed.
[[nodiscard]] std::optional<ChronyTracking> parse_chrony_tracking(
    std::span<const std::uint8_t> reply, std::uint32_t sequence);

// Hard error of the system clock under chronyd: |correction| + root dispersion + root delay / 2
// (chronyc's manual, "tracking"). An Error, with the reason, where chronyd follows nobody.
[[nodiscard]] Result<Nanoseconds> judge_chrony(const ChronyTracking& tracking);

}  // namespace driftlock
