// What the client library asks of the machine under it: a clock and a socket. Implemented in
// hw/udp_transport.hpp for a real machine and by the simulator. src/client itself reads no clock
// and makes no system call: LocalTime is an argument everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "src/base/result.hpp"
#include "src/base/time.hpp"

namespace driftlock::client {

// One reading of the machine's clocks.
struct LocalTime {
  // A clock that never steps and runs on while the machine sleeps (CLOCK_BOOTTIME). Its rate is
  // trusted to within the drift bound of the options.
  Nanoseconds local_ns = 0;
  // What the system clock says of TAI, right or wrong.
  Nanoseconds tai_ns = 0;
  // The hard bound on TAI where something disciplines the system clock; unlimited elsewhere.
  Interval tai;
  ClockState state = ClockState::kLost;
};

class LocalClock {
 public:
  virtual ~LocalClock() = default;
  [[nodiscard]] virtual LocalTime read() = 0;
  // The same clock as LocalTime::local_ns, without a system call; called from any thread.
  [[nodiscard]] virtual Nanoseconds local_ns() const = 0;
};

// Datagrams to and from one node. receive() is called by one thread, send() and wake() by any,
// send() never by two at once.
class Transport {
 public:
  virtual ~Transport() = default;
  // An error is a lost datagram with a reason ("connection refused"): the caller carries on.
  [[nodiscard]] virtual Status send(std::span<const std::uint8_t> datagram) = 0;
  // Waits until a datagram, wake() or the timeout, whichever comes first. 0 bytes = no datagram.
  [[nodiscard]] virtual Result<std::size_t> receive(std::span<std::uint8_t> buffer,
                                                    Nanoseconds timeout_ns) = 0;
  virtual void wake() = 0;
  // For poll(2); -1 where there is none.
  [[nodiscard]] virtual int descriptor() const { return -1; }
};

}  // namespace driftlock::client
