// Ethernet / IPv4 / UDP by hand, for ports that own an interface: finding the payload in a received
// frame, writing the headers before a payload to be sent, and answering ARP and ICMP echo in place.
// Pure: no device, no clock. Every byte read is checked to lie in the frame first; a frame that is
// not served is named by a Refusal and left as it was.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "src/lock/port.hpp"

namespace driftlock::frame {

using MacAddress = std::array<std::uint8_t, 6>;

inline constexpr std::size_t kEthernetBytes = 14;
inline constexpr std::size_t kVlanBytes = 4;
inline constexpr std::size_t kIpv4Bytes = 20;  // without options
inline constexpr std::size_t kUdpBytes = 8;
inline constexpr std::size_t kHeadersBytesMax =
    kEthernetBytes + kVlanBytes + kIpv4Bytes + kUdpBytes;  // of a frame that is sent
inline constexpr std::size_t kFrameBytesMin = 60;          // without the frame check sequence

// Who the port is. Addresses in host byte order; vlan 0 = untagged (priority tags are accepted).
struct Interface {
  MacAddress mac{};
  std::uint32_t ipv4 = 0;
  std::uint16_t udp_port = 0;
  std::uint16_t vlan = 0;
};

// Why a frame was not served, for the counters.
enum class Refusal : std::uint8_t {
  kNone = 0,
  kTruncated,        // shorter than a header in it says
  kForeignMac,       // to another station, or to a group
  kForeignVlan,      // another VLAN, or more than one tag
  kForeignType,      // neither IPv4 nor ARP for our address
  kBadIpv4,          // version, header length
  kBadIpv4Checksum,  //
  kFragment,         // a lock request never is one
  kForeignAddress,   // to another IPv4 address
  kMartianSource,    // from an address that no host can have, or from ourselves
  kForeignProtocol,  // neither UDP nor an ICMP echo request
  kBadUdpLength,     //
  kForeignUdpPort,   //
  kBadChecksum,      // of an ICMP echo; or the device says so of a UDP datagram
};
inline constexpr std::size_t kRefusalCount = 14;
const char* to_string(Refusal refusal);

// What parse() found. `peer` is the sender.
struct View {
  std::uint16_t payload_offset = 0;
  std::uint16_t payload_length = 0;
  Endpoint peer;
};

// How much of a received frame the device has checked itself.
enum class Ipv4Checksum : bool { kVerify, kTrusted };

// A UDP datagram to `self`: kNone, and where its payload lies. The UDP checksum is not read: veth
// delivers partial ones, and the payload carries a MAC that says more.
[[nodiscard]] Refusal parse(const Interface& self, std::span<const std::uint8_t> frame,
                            Ipv4Checksum checksum, View& view);

// Called for what parse() refused. Where it is an ARP request for our address or an ICMP echo
// request to us, the frame becomes its answer (of the same length, padding included) and kNone is
// returned: send it. Else the reason why not.
[[nodiscard]] Refusal answer_neighbour(const Interface& self, std::span<std::uint8_t> frame);

enum class Checksums : bool { kCompute, kLeftToDevice };

// Writes the headers of datagrams from `self`. A reply's headers are written over its request's, a
// push's into the headroom: either way they end where the payload begins. IPv4 says "do not
// fragment" and identification 0 (RFC 6864: an atomic datagram needs none).
class HeaderWriter {
 public:
  explicit HeaderWriter(const Interface& self);

  // The headers end at `payload`, before which kHeadersBytesMax bytes must be writable. Returns
  // where the frame begins, size() bytes before `payload`. With kLeftToDevice the UDP checksum is
  // the pseudo header's sum, as devices that offload it want.
  std::uint8_t* write(std::uint8_t* payload, std::uint16_t length, const Endpoint& peer,
                      Checksums checksums, std::uint8_t traffic_class = 0) const;

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t ethernet_bytes() const { return size_ - kIpv4Bytes - kUdpBytes; }

 private:
  std::array<std::uint8_t, kHeadersBytesMax> template_{};  // aligned to its end
  std::size_t size_ = 0;
  std::uint64_t ipv4_sum_ = 0;    // of the constant words of the IPv4 header
  std::uint64_t pseudo_sum_ = 0;  // of the constant words of the UDP pseudo header
  std::uint16_t own_port_ = 0;    // network order
};

// One's-complement sum of the bytes as big-endian 16-bit words (RFC 1071), unfolded; an odd last
// byte is padded with zero. The bytes are summed in memory order, so `fold` gives a checksum to be
// stored as it is.
[[nodiscard]] std::uint64_t ones_sum(std::span<const std::uint8_t> bytes, std::uint64_t start = 0);
[[nodiscard]] std::uint16_t fold(std::uint64_t sum);

}  // namespace driftlock::frame
