// One signalling message (IEEE 1588-2019, 13.12) holds TLVs; ptp4l's are SLAVE_RX_SYNC_TIMING_DATA
// (16.11.4.1) and linuxptp's own SLAVE_DELAY_TIMING_DATA_NP: a port identity of 10 bytes, then
// records.
#include "hw/ptp4l_events.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace driftlock {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint8_t kSignalling = 0x0C;
constexpr std::uint16_t kSyncTiming = 0x8004;
constexpr std::uint16_t kDelayTiming = 0x7F00;
constexpr std::size_t kTlvsAt = 44;  // 34 bytes of header, 10 of target port
constexpr std::size_t kPortBytes = 10;
constexpr std::size_t kSyncBytes = 34;
constexpr std::size_t kDelayBytes = 30;

std::uint64_t big_endian(Bytes bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | bytes[at + i];
  return value;
}

// 48 bits of seconds, 32 of nanoseconds.
Nanoseconds timestamp_ns(Bytes bytes, std::size_t at) {
  return static_cast<Nanoseconds>(big_endian(bytes, at, 6)) * kSecond +
         static_cast<Nanoseconds>(big_endian(bytes, at + 6, 4));
}

Ptp4lEvent record(Bytes bytes, std::size_t at, Ptp4lEvent::Kind kind) {
  Ptp4lEvent event;
  event.kind = kind;
  event.sequence = static_cast<std::uint16_t>(big_endian(bytes, at, 2));
  event.sent_ns = timestamp_ns(bytes, at + 2);
  event.correction_ns =
      static_cast<double>(static_cast<std::int64_t>(big_endian(bytes, at + 12, 8))) / 65536.0;
  // A Sync's record has the master's rate between the two.
  event.received_ns = timestamp_ns(bytes, at + (kind == Ptp4lEvent::Kind::kSync ? 24 : 20));
  return event;
}

}  // namespace

bool parse_ptp4l_events(Bytes message, std::vector<Ptp4lEvent>& events) {
  if (message.size() < kTlvsAt || (message[0] & 0x0F) != kSignalling) return false;
  const std::size_t length = std::min<std::size_t>(big_endian(message, 2, 2), message.size());
  std::size_t at = kTlvsAt;
  while (at + 4 <= length) {
    const auto type = static_cast<std::uint16_t>(big_endian(message, at, 2));
    const std::size_t end = at + 4 + big_endian(message, at + 2, 2);
    if (end > length) return false;
    const bool sync = type == kSyncTiming;
    const std::size_t size = sync ? kSyncBytes : kDelayBytes;
    if (sync || type == kDelayTiming) {
      for (std::size_t r = at + 4 + kPortBytes; r + size <= end; r += size) {
        events.push_back(
            record(message, r, sync ? Ptp4lEvent::Kind::kSync : Ptp4lEvent::Kind::kDelay));
      }
    }
    at = end;
  }
  return at == length;
}

Result<std::unique_ptr<Ptp4lEvents>> Ptp4lEvents::listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Error{"the path of ptp4l's slave_event_monitor is empty or too long: " + path};
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  const int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return Error{path + ": " + std::strerror(errno)};
  std::unique_ptr<Ptp4lEvents> events(new Ptp4lEvents(descriptor, path));
  unlink(path.c_str());  // a killed process leaves its socket behind
  if (bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return Error{path + ": " + std::strerror(errno)};
  }
  return events;
}

Ptp4lEvents::~Ptp4lEvents() {
  close(socket_);
  unlink(path_.c_str());
}

void Ptp4lEvents::drain(std::vector<Ptp4lEvent>& events) {
  std::array<std::uint8_t, 2048> buffer{};
  while (true) {
    const ssize_t size = recv(socket_, buffer.data(), buffer.size(), 0);
    if (size < 0) return;
    (void)parse_ptp4l_events({buffer.data(), static_cast<std::size_t>(size)}, events);
  }
}

}  // namespace driftlock
