#include "hw/pmc_message.hpp"

#include <algorithm>
#include <cstdio>

namespace driftlock {
namespace {

// Byte positions in a management message: 34 bytes of header, 14 of management, then one TLV.
constexpr std::size_t kTypeAt = 0;
constexpr std::size_t kLengthAt = 2;
constexpr std::size_t kSequenceAt = 30;
constexpr std::size_t kActionAt = 46;
constexpr std::size_t kTlvAt = 48;
constexpr std::size_t kDataAt = 54;
constexpr std::uint8_t kManagement = 0x0D;
constexpr std::uint8_t kResponse = 2;
constexpr std::uint16_t kManagementTlv = 1;

using Bytes = std::span<const std::uint8_t>;

std::uint64_t big_endian(Bytes bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | bytes[at + i];
  return value;
}

std::uint16_t u16(Bytes bytes, std::size_t at) {
  return static_cast<std::uint16_t>(big_endian(bytes, at, 2));
}

// TimeInterval: nanoseconds with 16 bits of fraction.
double interval_ns(Bytes bytes, std::size_t at) {
  return static_cast<double>(static_cast<std::int64_t>(big_endian(bytes, at, 8))) / 65536.0;
}

void put_u16(std::array<std::uint8_t, kPmcGetBytes>& out, std::size_t at, std::uint16_t value) {
  out[at] = static_cast<std::uint8_t>(value >> 8);
  out[at + 1] = static_cast<std::uint8_t>(value);
}

bool apply_current(Bytes data, Ptp4lState& state) {
  if (data.size() < 18) return false;
  state.offset_ns = interval_ns(data, 2);
  state.path_delay_ns = interval_ns(data, 10);
  return true;
}

bool apply_parent(Bytes data, Ptp4lState& state) {
  if (data.size() < 32) return false;
  state.grandmaster_class = data[19];
  state.grandmaster_accuracy = data[20];
  std::copy_n(data.begin() + 24, state.grandmaster.size(), state.grandmaster.begin());
  return true;
}

bool apply_time_properties(Bytes data, Ptp4lState& state) {
  if (data.size() < 4) return false;
  state.utc_offset_s = static_cast<std::int16_t>(u16(data, 0));
  state.utc_offset_valid = (data[2] & 0x04) != 0;
  state.ptp_timescale = (data[2] & 0x08) != 0;
  return true;
}

// One answer per port: the one that follows a master speaks for the clock.
bool apply_port(Bytes data, Ptp4lState& state) {
  if (data.size() < 26) return false;
  if (data[10] < 1 || data[10] > 10) return false;
  const auto told = static_cast<PtpPortState>(data[10]);
  if (state.port_state == PtpPortState::kUnknown || told == PtpPortState::kSlave) {
    state.port_state = told;
  }
  return true;
}

bool apply_time_status(Bytes data, Ptp4lState& state) {
  if (data.size() < 50) return false;
  state.grandmaster_present = big_endian(data, 38, 4) != 0;
  return true;
}

}  // namespace

std::string_view to_string(PtpPortState state) {
  constexpr std::array<std::string_view, 11> kNames{
      "UNKNOWN", "INITIALIZING", "FAULTY",       "DISABLED", "LISTENING",   "PRE_MASTER",
      "MASTER",  "PASSIVE",      "UNCALIBRATED", "SLAVE",    "GRAND_MASTER"};
  const auto index = static_cast<std::size_t>(state);
  return index < kNames.size() ? kNames[index] : "UNKNOWN";
}

std::string to_string(const PtpClockIdentity& id) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "%02x%02x%02x.%02x%02x.%02x%02x%02x", id[0], id[1], id[2],
                id[3], id[4], id[5], id[6], id[7]);
  return text.data();
}

std::optional<Nanoseconds> accuracy_ns(std::uint8_t accuracy) {
  constexpr std::array<Nanoseconds, 17> kFrom0x20{
      25,         100,         250,         1'000,         2'500,         10'000,
      25'000,     100'000,     250'000,     1'000'000,     2'500'000,     10'000'000,
      25'000'000, 100'000'000, 250'000'000, 1'000'000'000, 10'000'000'000};
  if (accuracy < 0x20 || accuracy >= 0x20 + kFrom0x20.size()) return std::nullopt;
  return kFrom0x20[accuracy - 0x20U];
}

std::array<std::uint8_t, kPmcGetBytes> pmc_get(PmcId id, std::uint16_t sequence,
                                               std::uint8_t domain) {
  std::array<std::uint8_t, kPmcGetBytes> out{};
  out[kTypeAt] = kManagement;
  out[1] = 2;  // PTP version
  put_u16(out, kLengthAt, kPmcGetBytes);
  out[4] = domain;
  put_u16(out, 28, 1);  // our port's number; our clock's identity is zero, as pmc's
  put_u16(out, kSequenceAt, sequence);
  out[32] = 4;                                            // control: management
  out[33] = 0x7F;                                         // no message interval
  std::fill_n(out.begin() + 34, 10, std::uint8_t{0xFF});  // to all ports
  put_u16(out, kTlvAt, kManagementTlv);
  put_u16(out, kTlvAt + 2, 2);  // the id alone
  put_u16(out, kTlvAt + 4, static_cast<std::uint16_t>(id));
  return out;
}

bool apply_pmc_answer(std::span<const std::uint8_t> message, std::uint16_t sequence,
                      Ptp4lState& state) {
  if (message.size() < kDataAt || (message[kTypeAt] & 0x0F) != kManagement) return false;
  const std::size_t length = std::min<std::size_t>(u16(message, kLengthAt), message.size());
  const std::size_t tlv = u16(message, kTlvAt + 2);
  if (u16(message, kSequenceAt) != sequence || (message[kActionAt] & 0x0F) != kResponse ||
      u16(message, kTlvAt) != kManagementTlv || tlv < 2 || kTlvAt + 4 + tlv > length) {
    return false;
  }
  const Bytes data = message.subspan(kDataAt, tlv - 2);
  switch (static_cast<PmcId>(u16(message, kTlvAt + 4))) {
    case PmcId::kCurrentDataSet:
      return apply_current(data, state);
    case PmcId::kParentDataSet:
      return apply_parent(data, state);
    case PmcId::kTimePropertiesDataSet:
      return apply_time_properties(data, state);
    case PmcId::kPortDataSet:
      return apply_port(data, state);
    case PmcId::kTimeStatusNp:
      return apply_time_status(data, state);
  }
  return false;
}

}  // namespace driftlock
