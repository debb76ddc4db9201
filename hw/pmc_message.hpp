// PTP management messages (IEEE 1588-2008, clause 15, and linuxptp's own TLVs): a GET to write, the
// answers to read. Pure: bytes in, values out. Whatever does not fit is refused, nothing is
// trusted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "src/base/time.hpp"

namespace driftlock {

enum class PmcId : std::uint16_t {
  kCurrentDataSet = 0x2001,
  kParentDataSet = 0x2002,
  kTimePropertiesDataSet = 0x2003,
  kPortDataSet = 0x2004,
  kTimeStatusNp = 0xC000,  // linuxptp's
};

enum class PtpPortState : std::uint8_t {
  kUnknown = 0,
  kInitializing = 1,
  kFaulty = 2,
  kDisabled = 3,
  kListening = 4,
  kPreMaster = 5,
  kMaster = 6,
  kPassive = 7,
  kUncalibrated = 8,
  kSlave = 9,
  kGrandMaster = 10,
};
[[nodiscard]] std::string_view to_string(PtpPortState state);

using PtpClockIdentity = std::array<std::uint8_t, 8>;
[[nodiscard]] std::string to_string(const PtpClockIdentity& identity);  // 001122.fffe.334455

// What ptp4l says of itself, as far as it has been asked.
struct Ptp4lState {
  PtpPortState port_state = PtpPortState::kUnknown;  // of the port that follows, else the first
  PtpClockIdentity grandmaster{};
  std::uint8_t grandmaster_class = 255;
  std::uint8_t grandmaster_accuracy = 0xFE;  // enumeration of 1588, 7.6.2.5
  double offset_ns = 0.0;                    // from the master, as last measured
  double path_delay_ns = 0.0;                // mean
  std::int16_t utc_offset_s = 0;
  bool utc_offset_valid = false;
  bool ptp_timescale = false;
  bool grandmaster_present = false;
};

// Largest error that an accuracy stands for; none for "unknown" and reserved values.
[[nodiscard]] std::optional<Nanoseconds> accuracy_ns(std::uint8_t accuracy);

inline constexpr std::size_t kPmcGetBytes = 54;
[[nodiscard]] std::array<std::uint8_t, kPmcGetBytes> pmc_get(PmcId id, std::uint16_t sequence,
                                                             std::uint8_t domain);

// Applies one answer to `state`. False where it is no answer to `sequence`, or malformed.
[[nodiscard]] bool apply_pmc_answer(std::span<const std::uint8_t> message, std::uint16_t sequence,
                                    Ptp4lState& state);

}  // namespace driftlock
