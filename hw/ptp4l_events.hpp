// Ptp4lEvents: the raw event timestamps that ptp4l publishes (its slave_event_monitor): what a Sync
// said when it left and came, what a Delay_Req did. ptp4l sends them to a UNIX socket that belongs
// to us; where nobody listens it goes on. Owned by one thread; never waits. Parsing is pure.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/base/result.hpp"
#include "src/base/time.hpp"

namespace driftlock {

// Sync: sent by the master (its clock), received here (our clock). Delay: sent here, received
// there.
struct Ptp4lEvent {
  enum class Kind : std::uint8_t { kSync, kDelay };
  Kind kind = Kind::kSync;
  std::uint16_t sequence = 0;
  Nanoseconds sent_ns = 0;
  Nanoseconds received_ns = 0;
  double correction_ns = 0.0;  // residence in switches on the way, which they have taken out
};

// The events of one signalling message, appended; false where it is none, or malformed.
bool parse_ptp4l_events(std::span<const std::uint8_t> message, std::vector<Ptp4lEvent>& events);

class Ptp4lEvents {
 public:
  ~Ptp4lEvents();
  Ptp4lEvents(const Ptp4lEvents&) = delete;
  Ptp4lEvents& operator=(const Ptp4lEvents&) = delete;
  [[nodiscard]] static Result<std::unique_ptr<Ptp4lEvents>> listen(const std::string& path);

  // What has come since the last call, appended to `events`.
  void drain(std::vector<Ptp4lEvent>& events);

 private:
  Ptp4lEvents(int socket, std::string path) : socket_(socket), path_(std::move(path)) {}

  int socket_;
  std::string path_;
};

}  // namespace driftlock
