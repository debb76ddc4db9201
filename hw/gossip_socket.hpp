// GossipSocket: the UDP socket that nodes gossip over. Receive stamps are the kernel's
// (SO_TIMESTAMPNS, taken where the packet leaves the driver), brought to this machine's tick
// counter by their age; the tick count at reading stands in where there is none. Owned by the
// gossip thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "src/base/result.hpp"
#include "src/base/time.hpp"

namespace driftlock {

class GossipSocket {
 public:
  // Host byte order. Port 0: the kernel chooses.
  [[nodiscard]] static Result<std::unique_ptr<GossipSocket>> open(std::uint32_t ipv4,
                                                                  std::uint16_t udp_port);
  ~GossipSocket();
  GossipSocket(const GossipSocket&) = delete;
  GossipSocket& operator=(const GossipSocket&) = delete;

  struct Received {
    std::size_t length = 0;  // 0: nothing there
    std::uint64_t ticks = 0;
    StampSource stamp = StampSource::kNone;
  };
  [[nodiscard]] Received receive(std::span<std::uint8_t> buffer);
  // A datagram that cannot be sent is lost, as any may be.
  void send(std::span<const std::uint8_t> datagram, std::uint32_t ipv4, std::uint16_t udp_port);
  // Until a datagram is there, or `wake` is readable, or the time has passed.
  void wait(int wake, Nanoseconds timeout_ns) const;
  [[nodiscard]] std::uint16_t udp_port() const { return udp_port_; }

 private:
  explicit GossipSocket(int descriptor) : descriptor_(descriptor) {}

  const int descriptor_;
  std::uint16_t udp_port_ = 0;
  double ns_per_tick_ = 1.0;
};

}  // namespace driftlock
