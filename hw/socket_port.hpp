// SocketPort: the Port concept over a non-blocking UDP socket of the kernel's, for machines without
// a NIC to spare and for programs that run without root. One thread owns it, except for
// hardware_clock_sample() (one control thread) and the counters (read by any). Nothing is allocated
// after open().
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "hw/device_clock.hpp"
#include "src/base/counter.hpp"
#include "src/base/result.hpp"
#include "src/lock/port.hpp"

namespace driftlock {

struct SocketPortOptions {
  std::uint32_t ipv4 = 0;      // host byte order; 0 = any. On a machine with several addresses name
                               // the one that clients use: answers come from it
  std::uint16_t udp_port = 0;  // 0 = the kernel chooses
  std::uint32_t buffers = 4096;
  int kernel_buffer_bytes = 8 << 20;  // asked for each way; the kernel's limit holds without root
};

// writer: the port's thread.
struct SocketPortCounters {
  Counter received;
  Counter sent;
  Counter send_drops;           // the kernel would not take them
  Counter no_buffer;            // allocate() refused
  Counter receive_drops;        // by the kernel: its buffer was full
  Counter stamps_out_of_range;  // stamps that made no sense (a clock was set): TSC used instead
};

class SocketPort {
 public:
  [[nodiscard]] static Result<std::unique_ptr<SocketPort>> open(const SocketPortOptions& options);
  ~SocketPort();
  SocketPort(const SocketPort&) = delete;
  SocketPort& operator=(const SocketPort&) = delete;

  // The Port concept.
  [[nodiscard]] std::size_t receive(std::span<Datagram> out);
  [[nodiscard]] bool allocate(Datagram& datagram);
  void send(std::span<Datagram> datagrams);
  void release(Datagram& datagram);

  // Sleeps until something has arrived (true) or the timeout has passed: for an idle loop.
  [[nodiscard]] bool wait(Nanoseconds timeout_ns);

  // The NIC's clock read `device_ns` when the node's counter stood at `ticks`. After some of these
  // the NIC's stamps are used where packets carry them; until then the kernel's are.
  void hardware_clock_sample(std::uint64_t device_ns, std::uint64_t ticks) {
    device_clock_.add(device_ns, ticks);
  }

  [[nodiscard]] std::uint32_t ipv4() const { return ipv4_; }
  [[nodiscard]] std::uint16_t udp_port() const { return udp_port_; }
  [[nodiscard]] const SocketPortCounters& counters() const { return counters_; }

 private:
  static constexpr std::size_t kBufferBytes = 2048;
  static constexpr std::size_t kControlBytes = 128;
  // What the kernel fills in or reads for one datagram of a burst.
  struct alignas(64) Slot {
    alignas(cmsghdr) std::array<std::uint8_t, kControlBytes> control{};
    sockaddr_in address{};
    iovec data{};
  };
  struct Now;  // one instant by two clocks

  explicit SocketPort(const SocketPortOptions& options);
  [[nodiscard]] Status bind_socket(const SocketPortOptions& options);
  [[nodiscard]] std::size_t prepare_receive(std::size_t wanted);
  void read_control(const msghdr& message, const Now& now, Datagram& datagram);
  [[nodiscard]] bool stamp_from_kernel(const timespec& stamp, const Now& now, ReceiveStamp& out);
  [[nodiscard]] bool stamp_from_device(const timespec& stamp, const Now& now, ReceiveStamp& out);
  static void set_traffic_class(Slot& slot, int traffic_class, msghdr& message);
  void transmit(std::span<Datagram> datagrams);

  int socket_ = -1;
  std::uint32_t ipv4_ = 0;
  std::uint16_t udp_port_ = 0;
  double ns_per_tick_ = 1.0;
  std::uint32_t kernel_drops_seen_ = 0;
  std::unique_ptr<std::uint8_t[]> memory_;
  std::vector<std::uint8_t*> free_;  // buffers; never grows beyond its first size
  std::array<Slot, kBurst> slots_{};
  std::array<mmsghdr, kBurst> messages_{};
  DeviceClock device_clock_;
  SocketPortCounters counters_;
};

}  // namespace driftlock
