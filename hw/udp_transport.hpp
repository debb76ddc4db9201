// The client's machine: a connected, unprivileged UDP socket, and the local clocks. Used by the
// client library's thread alone, except for send(), wake() and local_ns().
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "src/base/result.hpp"
#include "src/client/client.hpp"
#include "src/client/local_time.hpp"

namespace driftlock {

class UdpTransport final : public client::Transport {
 public:
  // "host", "host:port" or "192.0.2.7:4780"; IPv4.
  [[nodiscard]] static Result<std::unique_ptr<UdpTransport>> open(const std::string& server);
  ~UdpTransport() override;
  UdpTransport(const UdpTransport&) = delete;
  UdpTransport& operator=(const UdpTransport&) = delete;

  [[nodiscard]] Status send(std::span<const std::uint8_t> datagram) override;
  [[nodiscard]] Result<std::size_t> receive(std::span<std::uint8_t> buffer,
                                            Nanoseconds timeout_ns) override;
  void wake() override;
  [[nodiscard]] int descriptor() const override { return socket_; }

 private:
  UdpTransport(int socket, int waker) : socket_(socket), waker_(waker) {}
  int socket_;
  int waker_;  // eventfd
};

// CLOCK_BOOTTIME, which counts on through a suspend, for local instants; CLOCK_REALTIME and the
// kernel's NTP state (adjtimex, asked once a second) for TAI.
class SystemClock final : public client::LocalClock {
 public:
  [[nodiscard]] client::LocalTime read() override;
  [[nodiscard]] Nanoseconds local_ns() const override;

 private:
  void refresh(Nanoseconds local_ns);

  std::mutex mutex_;
  Nanoseconds refreshed_local_ns_ = kLongAgo;
  Nanoseconds tai_offset_ns_ = 0;
  Nanoseconds max_error_ns_ = 0;
  bool synchronized_ = false;
};

// 256 bits from the kernel.
[[nodiscard]] SecretKey random_seed();

// A client over UDP: fills in the seed and, for messages, the node's name.
[[nodiscard]] Result<std::unique_ptr<Client>> connect_udp(const std::string& server,
                                                          ClientOptions options);

}  // namespace driftlock
