// The Port concept: where datagrams come from and go to. One lcore owns a port outright.
// Implemented over DPDK ethdev (hw/dpdk_port.hpp), a kernel socket (hw/socket_port.hpp) and the
// simulator's network.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>

#include "src/base/time.hpp"

namespace driftlock {

// The other end of a datagram. IPv4 in host byte order; the MAC address and the port's own UDP port
// are set by ports that build frames themselves, and pass through unread otherwise.
struct Endpoint {
  std::uint32_t ipv4 = 0;
  std::uint16_t udp_port = 0;
  std::array<std::uint8_t, 6> mac{};
  friend bool operator==(const Endpoint& a, const Endpoint& b) {
    return a.ipv4 == b.ipv4 && a.udp_port == b.udp_port;  // a moved MAC address is the same peer
  }
};
static_assert(sizeof(Endpoint) == 12);

// When a datagram arrived, in ticks of the node's counter (hw/tick_counter.hpp), and how that was
// learnt.
struct ReceiveStamp {
  std::uint64_t ticks = 0;
  StampSource source = StampSource::kNone;
};

// A UDP payload in the port's buffer. It is answered in place: the reply overwrites the request.
struct Datagram {
  std::uint8_t* payload = nullptr;  // may be unaligned
  std::uint16_t length = 0;
  std::uint16_t capacity = 0;      // bytes writable at payload
  Endpoint peer;                   // received: who sent it; sent: who gets it
  std::uint8_t traffic_class = 0;  // sent: the IP header's byte of that name; received: not told
  ReceiveStamp stamp;
  void* buffer = nullptr;  // the port's own
};

inline constexpr std::size_t kBurst = 32;

// receive(out): fills up to out.size() datagrams addressed to the port, returns how many; never
// blocks. allocate(out): an empty buffer of at least wire::kDatagramBytesMax bytes for a push;
// false if none left. send(datagrams): takes them all, to each one's peer; those the device cannot
// take are counted, dropped. release(datagram): gives an unanswered datagram's buffer back. Each
// datagram that receive() or allocate() handed out is given back exactly once, by send() or
// release().
template <typename P>
concept Port = requires(P port, std::span<Datagram> datagrams, Datagram& datagram) {
  { port.receive(datagrams) } -> std::same_as<std::size_t>;
  { port.allocate(datagram) } -> std::same_as<bool>;
  { port.send(datagrams) } -> std::same_as<void>;
  { port.release(datagram) } -> std::same_as<void>;
};

}  // namespace driftlock
