// What a node's clock follows, as it answers a time query. The values travel in the protocol.
#pragma once

#include <cstdint>

namespace driftlock {

enum class TimeSource : std::uint8_t {
  kUnstated = 0,
  kSystem = 1,     // the kernel's clock, by its own NTP state
  kChrony = 2,     // the kernel's clock, by chronyd's word
  kPhc = 3,        // a PTP hardware clock
  kPtp4l = 4,      // a clock that ptp4l keeps and judges
  kSimulated = 5,  // means nothing outside the node
};

constexpr const char* to_string(TimeSource source) {
  switch (source) {
    case TimeSource::kUnstated:
      return "unstated";
    case TimeSource::kSystem:
      return "system";
    case TimeSource::kChrony:
      return "chrony";
    case TimeSource::kPhc:
      return "phc";
    case TimeSource::kPtp4l:
      return "ptp4l";
    case TimeSource::kSimulated:
      return "simulated";
  }
  return "?";
}

}  // namespace driftlock
