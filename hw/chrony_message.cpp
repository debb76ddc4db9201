#include "hw/chrony_message.hpp"

#include <cmath>

namespace driftlock {
namespace {

constexpr std::uint8_t kVersion = 6;
constexpr std::uint8_t kRequest = 1;
constexpr std::uint8_t kReply = 2;
constexpr std::uint16_t kCommandTracking = 33;
constexpr std::uint16_t kReplyTracking = 5;
constexpr std::uint16_t kSuccess = 0;
constexpr std::uint32_t kOwnClock = 0x7F7F0101;
constexpr std::uint16_t kUnsynchronized = 3;

// Byte positions: a reply's header is 28 bytes, then the report.
constexpr std::size_t kReplySequenceAt = 16;
constexpr std::size_t kReportAt = 28;

using Bytes = std::span<const std::uint8_t>;

std::uint32_t u32(Bytes bytes, std::size_t at) {
  return static_cast<std::uint32_t>(bytes[at]) << 24 |
         static_cast<std::uint32_t>(bytes[at + 1]) << 16 |
         static_cast<std::uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}

std::uint16_t u16(Bytes bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

void put_u32(std::array<std::uint8_t, kChronyTrackingBytes>& out, std::size_t at,
             std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i)
    out[at + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

// chrony's own floating point: 7 bits of exponent, 25 of coefficient, both in two's complement.
double chrony_float(Bytes bytes, std::size_t at) {
  const std::uint32_t word = u32(bytes, at);
  auto exponent = static_cast<std::int32_t>(word >> 25);
  if (exponent >= 64) exponent -= 128;
  auto coefficient = static_cast<std::int32_t>(word & 0x01FFFFFF);
  if (coefficient >= 1 << 24) coefficient -= 1 << 25;
  return std::ldexp(static_cast<double>(coefficient), exponent - 25);
}

}  // namespace

std::array<std::uint8_t, kChronyTrackingBytes> chrony_tracking_request(std::uint32_t sequence) {
  std::array<std::uint8_t, kChronyTrackingBytes> out{};
  out[0] = kVersion;
  out[1] = kRequest;
  out[5] = kCommandTracking;
  put_u32(out, 8, sequence);
  return out;
}

std::optional<ChronyTracking> parse_chrony_tracking(Bytes reply, std::uint32_t sequence) {
  if (reply.size() < kChronyTrackingBytes || reply[0] != kVersion || reply[1] != kReply ||
      u16(reply, 4) != kCommandTracking || u16(reply, 6) != kReplyTracking ||
      u16(reply, 8) != kSuccess || u32(reply, kReplySequenceAt) != sequence) {
    return std::nullopt;
  }
  // reference id 4, its address 20, stratum 2, leap 2, reference time 12, then nine numbers.
  constexpr std::size_t kNumbersAt = kReportAt + 40;
  const auto number = [&](std::size_t i) { return chrony_float(reply, kNumbersAt + 4 * i); };
  ChronyTracking tracking;
  tracking.reference_id = u32(reply, kReportAt);
  tracking.stratum = u16(reply, kReportAt + 24);
  tracking.leap_status = u16(reply, kReportAt + 26);
  tracking.correction_s = number(0);
  tracking.rms_offset_s = number(2);
  tracking.frequency_ppm = number(3);
  tracking.skew_ppm = number(5);
  tracking.root_delay_s = number(6);
  tracking.root_dispersion_s = number(7);
  return tracking;
}

Result<Nanoseconds> judge_chrony(const ChronyTracking& tracking) {
  if (tracking.leap_status == kUnsynchronized || tracking.reference_id == 0) {
    return Error{"chronyd is not synchronized: `chronyc sources` tells what it lacks"};
  }
  if (tracking.reference_id == kOwnClock) {
    return Error{"chronyd follows its own clock (`local`), and so no reference"};
  }
  const double error_s =
      std::fabs(tracking.correction_s) + tracking.root_dispersion_s + tracking.root_delay_s / 2;
  constexpr double kHopeless_s = 16.0;  // NTP's own limit
  if (!(error_s >= 0.0 && error_s < kHopeless_s)) {
    return Error{"chronyd admits to an error of more than 16 s"};
  }
  return static_cast<Nanoseconds>(std::ceil(error_s * 1e9));
}

}  // namespace driftlock
