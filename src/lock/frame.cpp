#include "src/lock/frame.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "src/base/assert.hpp"
#include "src/lock/wire.hpp"

namespace driftlock::frame {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::uint16_t kTypeIpv4 = 0x0800;
constexpr std::uint16_t kTypeArp = 0x0806;
constexpr std::uint16_t kTypeVlan = 0x8100;
constexpr std::uint8_t kProtocolIcmp = 1;
constexpr std::uint8_t kProtocolUdp = 17;
constexpr std::uint8_t kTimeToLive = 64;
constexpr std::size_t kArpBytes = 28;
constexpr std::size_t kIcmpBytes = 8;

std::uint16_t big16(const std::uint8_t* from) {
  return __builtin_bswap16(wire::load<std::uint16_t>(from));
}
std::uint32_t big32(const std::uint8_t* from) {
  return __builtin_bswap32(wire::load<std::uint32_t>(from));
}
void put_big16(std::uint8_t* to, std::uint16_t value) {
  wire::store(to, __builtin_bswap16(value));
}
void put_big32(std::uint8_t* to, std::uint32_t value) {
  wire::store(to, __builtin_bswap32(value));
}

// 2^16 = 1 modulo 2^16 - 1, so that the width of the words that are added does not matter to
// folded(), as long as no carry is lost.
inline std::uint64_t halves(std::uint64_t word) {
  return (word & 0xFFFFFFFFU) + (word >> 32);
}

// A sum of whole words, whose carries are counted.
struct WordSum {
  std::uint64_t low;
  std::uint64_t carries = 0;
  void add(std::uint64_t word) {
    low += word;
    carries += static_cast<std::uint64_t>(low < word);
  }
};

inline std::uint64_t sum_of(const std::uint8_t* at, std::size_t left, std::uint64_t start) {
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  WordSum sum{start};
  for (; left >= 4 * kWord; left -= 4 * kWord, at += 4 * kWord) {
    sum.add(wire::load<std::uint64_t>(at));
    sum.add(wire::load<std::uint64_t>(at + kWord));
    sum.add(wire::load<std::uint64_t>(at + 2 * kWord));
    sum.add(wire::load<std::uint64_t>(at + 3 * kWord));
  }
  for (; left >= kWord; left -= kWord, at += kWord) sum.add(wire::load<std::uint64_t>(at));
  std::uint64_t rest = 0;
  if (left > 0) std::memcpy(&rest, at, left);
  sum.add(rest);
  return halves(sum.low) + sum.carries;
}

inline std::uint64_t sum_of_ipv4_header(const std::uint8_t* header) {
  return halves(wire::load<std::uint64_t>(header)) + halves(wire::load<std::uint64_t>(header + 8)) +
         wire::load<std::uint32_t>(header + 16);
}

inline std::uint16_t folded(std::uint64_t sum) {
  sum = halves(sum);
  sum = (sum & 0xFFFFU) + (sum >> 16);
  sum = (sum & 0xFFFFU) + (sum >> 16);
  sum = (sum & 0xFFFFU) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

// What comes after the Ethernet header, tag included.
struct Link {
  std::uint16_t type = 0;
  std::size_t header_bytes = 0;
};

Refusal parse_link(const Interface& self, std::span<const std::uint8_t> frame, Link& link) {
  if (frame.size() < kEthernetBytes) return Refusal::kTruncated;
  link = {big16(&frame[12]), kEthernetBytes};
  std::uint16_t vlan = 0;
  if (link.type == kTypeVlan) {
    if (frame.size() < kEthernetBytes + kVlanBytes) return Refusal::kTruncated;
    vlan = big16(&frame[14]) & 0x0FFF;
    link = {big16(&frame[16]), kEthernetBytes + kVlanBytes};
  }
  return vlan == self.vlan ? Refusal::kNone : Refusal::kForeignVlan;
}

bool to_own_mac(const Interface& self, const std::uint8_t* destination) {
  return std::memcmp(destination, self.mac.data(), self.mac.size()) == 0;
}

// A source address that must not be answered: 0/8, 127/8, multicast and reserved (224/3), our own.
bool is_martian(const Interface& self, std::uint32_t source) {
  const std::uint32_t top = source >> 24;
  return top == 0 || top == 127 || top >= 224 || source == self.ipv4;
}

struct Network {
  std::size_t offset = 0;  // of the IPv4 header
  std::size_t header_bytes = 0;
  std::size_t payload_bytes = 0;
  std::uint8_t protocol = 0;
  std::uint32_t source = 0;
};

Refusal parse_ipv4(const Interface& self, std::span<const std::uint8_t> frame, std::size_t offset,
                   Ipv4Checksum checksum, Network& network) {
  if (frame.size() < offset + kIpv4Bytes) return Refusal::kTruncated;
  const std::uint8_t* header = frame.data() + offset;
  const std::size_t header_bytes = std::size_t{header[0] & 0x0FU} * 4;
  const std::size_t total_bytes = big16(header + 2);
  if (header[0] >> 4 != 4 || header_bytes < kIpv4Bytes || total_bytes < header_bytes) {
    return Refusal::kBadIpv4;
  }
  if (frame.size() - offset < total_bytes) return Refusal::kTruncated;
  if (checksum == Ipv4Checksum::kVerify && folded(sum_of(header, header_bytes, 0)) != 0) {
    return Refusal::kBadIpv4Checksum;
  }
  // More fragments to come, or not the first of them.
  if ((big16(header + 6) & 0x3FFF) != 0) return Refusal::kFragment;
  if (big32(header + 16) != self.ipv4) return Refusal::kForeignAddress;
  network = {offset, header_bytes, total_bytes - header_bytes, header[9], big32(header + 12)};
  return is_martian(self, network.source) ? Refusal::kMartianSource : Refusal::kNone;
}

Refusal answer_arp(const Interface& self, std::span<std::uint8_t> frame, std::size_t offset) {
  if (frame.size() < offset + kArpBytes) return Refusal::kTruncated;
  // Ethernet, IPv4, their address lengths, request.
  constexpr std::array<std::uint8_t, 8> kRequest = {0, 1, 0x08, 0, 6, 4, 0, 1};
  std::uint8_t* arp = frame.data() + offset;
  std::uint8_t* sender_mac = arp + 8;
  std::uint8_t* sender_ipv4 = arp + 14;
  std::uint8_t* target_mac = arp + 18;
  std::uint8_t* target_ipv4 = arp + 24;
  if (std::memcmp(arp, kRequest.data(), kRequest.size()) != 0 || big32(target_ipv4) != self.ipv4) {
    return Refusal::kForeignType;
  }
  // A group address or another station's: answering would send our replies there.
  if ((sender_mac[0] & 1U) != 0 || std::memcmp(sender_mac, &frame[6], self.mac.size()) != 0) {
    return Refusal::kMartianSource;
  }
  arp[7] = 2;  // reply
  std::memcpy(target_mac, sender_mac, 6);
  std::memcpy(target_ipv4, sender_ipv4, 4);  // 0.0.0.0 where it probes for a duplicate: answered
  std::memcpy(sender_mac, self.mac.data(), 6);
  put_big32(sender_ipv4, self.ipv4);
  return Refusal::kNone;
}

Refusal answer_echo(const Interface& self, std::span<std::uint8_t> frame, std::size_t offset) {
  Network network;
  const Refusal refusal = parse_ipv4(self, frame, offset, Ipv4Checksum::kVerify, network);
  if (refusal != Refusal::kNone) return refusal;
  if (network.protocol != kProtocolIcmp) return Refusal::kForeignProtocol;
  // Options would have to be answered too (a recorded or a source route): not worth it for a ping.
  if (network.header_bytes != kIpv4Bytes) return Refusal::kBadIpv4;
  if (network.payload_bytes < kIcmpBytes) return Refusal::kTruncated;
  std::uint8_t* ipv4 = frame.data() + offset;
  std::uint8_t* icmp = ipv4 + kIpv4Bytes;
  constexpr std::uint8_t kEchoRequest = 8;
  if (icmp[0] != kEchoRequest || icmp[1] != 0) return Refusal::kForeignProtocol;
  if (fold(ones_sum({icmp, network.payload_bytes})) != 0) return Refusal::kBadChecksum;
  icmp[0] = 0;  // echo reply
  wire::store<std::uint16_t>(icmp + 2, 0);
  wire::store(icmp + 2, fold(ones_sum({icmp, network.payload_bytes})));
  put_big32(ipv4 + 12, self.ipv4);
  put_big32(ipv4 + 16, network.source);
  ipv4[8] = kTimeToLive;
  wire::store<std::uint16_t>(ipv4 + 10, 0);
  wire::store(ipv4 + 10, fold(ones_sum({ipv4, kIpv4Bytes})));
  return Refusal::kNone;
}

}  // namespace

const char* to_string(Refusal refusal) {
  constexpr std::array<const char*, kRefusalCount> kNames = {"none",
                                                             "truncated",
                                                             "foreign_mac",
                                                             "foreign_vlan",
                                                             "foreign_type",
                                                             "bad_ipv4",
                                                             "bad_ipv4_sum",
                                                             "fragment",
                                                             "foreign_address",
                                                             "martian_source",
                                                             "foreign_protocol",
                                                             "bad_udp_length",
                                                             "foreign_udp_port",
                                                             "bad_checksum"};
  const auto index = static_cast<std::size_t>(refusal);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::uint64_t ones_sum(std::span<const std::uint8_t> bytes, std::uint64_t start) {
  return sum_of(bytes.data(), bytes.size(), start);
}

std::uint16_t fold(std::uint64_t sum) {
  return folded(sum);
}

namespace {

// The frame that all but a few are: untagged, no IPv4 options, whole, for us. False says nothing:
// the long way finds out what it is.
bool parse_plain(const Interface& self, std::span<const std::uint8_t> frame, Ipv4Checksum checksum,
                 View& view) {
  constexpr std::size_t kHeaders = kEthernetBytes + kIpv4Bytes + kUdpBytes;
  if (frame.size() < kHeaders || self.vlan != 0) return false;
  const std::uint8_t* const ipv4 = frame.data() + kEthernetBytes;
  const std::uint8_t* const udp = ipv4 + kIpv4Bytes;
  const std::uint32_t source = big32(ipv4 + 12);
  const std::size_t total_bytes = big16(ipv4 + 2);
  const std::size_t udp_bytes = big16(udp + 4);
  const std::uint16_t source_port = big16(udp);
  const bool plain =
      big16(&frame[12]) == kTypeIpv4 && to_own_mac(self, frame.data()) && ipv4[0] == 0x45 &&
      (big16(ipv4 + 6) & 0x3FFF) == 0 && ipv4[9] == kProtocolUdp && big32(ipv4 + 16) == self.ipv4 &&
      total_bytes == udp_bytes + kIpv4Bytes && total_bytes <= frame.size() - kEthernetBytes &&
      udp_bytes >= kUdpBytes && big16(udp + 2) == self.udp_port && source_port != 0 &&
      !is_martian(self, source);
  if (!plain) return false;
  if (checksum == Ipv4Checksum::kVerify && folded(sum_of_ipv4_header(ipv4)) != 0) return false;
  view.payload_offset = kHeaders;
  view.payload_length = static_cast<std::uint16_t>(udp_bytes - kUdpBytes);
  view.peer.ipv4 = source;
  view.peer.udp_port = source_port;
  std::memcpy(view.peer.mac.data(), &frame[6], 6);
  return true;
}

}  // namespace

Refusal parse(const Interface& self, std::span<const std::uint8_t> frame, Ipv4Checksum checksum,
              View& view) {
  if (parse_plain(self, frame, checksum, view)) return Refusal::kNone;
  Link link;
  if (const Refusal refusal = parse_link(self, frame, link); refusal != Refusal::kNone) {
    return refusal;
  }
  if (link.type != kTypeIpv4) return Refusal::kForeignType;
  if (!to_own_mac(self, frame.data())) return Refusal::kForeignMac;
  Network network;
  if (const Refusal refusal = parse_ipv4(self, frame, link.header_bytes, checksum, network);
      refusal != Refusal::kNone) {
    return refusal;
  }
  if (network.protocol != kProtocolUdp) return Refusal::kForeignProtocol;
  if (network.payload_bytes < kUdpBytes) return Refusal::kTruncated;
  const std::size_t udp_offset = network.offset + network.header_bytes;
  const std::uint8_t* udp = frame.data() + udp_offset;
  const std::uint16_t udp_bytes = big16(udp + 4);
  if (udp_bytes < kUdpBytes || udp_bytes > network.payload_bytes) return Refusal::kBadUdpLength;
  if (big16(udp + 2) != self.udp_port) return Refusal::kForeignUdpPort;
  view.payload_offset = static_cast<std::uint16_t>(udp_offset + kUdpBytes);
  view.payload_length = static_cast<std::uint16_t>(udp_bytes - kUdpBytes);
  view.peer.ipv4 = network.source;
  view.peer.udp_port = big16(udp);
  std::memcpy(view.peer.mac.data(), &frame[6], 6);
  return view.peer.udp_port != 0 ? Refusal::kNone : Refusal::kMartianSource;
}

Refusal answer_neighbour(const Interface& self, std::span<std::uint8_t> frame) {
  Link link;
  Refusal refusal = parse_link(self, frame, link);
  if (refusal != Refusal::kNone) return refusal;
  constexpr MacAddress kBroadcast = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
  const bool to_us = to_own_mac(self, frame.data());
  if (link.type == kTypeArp && (to_us || std::memcmp(frame.data(), kBroadcast.data(), 6) == 0)) {
    refusal = answer_arp(self, frame, link.header_bytes);
  } else if (link.type == kTypeIpv4) {
    refusal = to_us ? answer_echo(self, frame, link.header_bytes) : Refusal::kForeignMac;
  } else {
    return Refusal::kForeignType;
  }
  if (refusal != Refusal::kNone) return refusal;
  std::memcpy(frame.data(), &frame[6], 6);
  std::memcpy(&frame[6], self.mac.data(), 6);
  return Refusal::kNone;
}

HeaderWriter::HeaderWriter(const Interface& self)
    : size_(kHeadersBytesMax - (self.vlan == 0 ? kVlanBytes : 0)) {
  std::uint8_t* const udp = template_.data() + kHeadersBytesMax - kUdpBytes;
  std::uint8_t* const ipv4 = udp - kIpv4Bytes;
  std::uint8_t* const ethernet = template_.data() + kHeadersBytesMax - size_;
  std::memcpy(ethernet + 6, self.mac.data(), 6);
  if (self.vlan != 0) {
    put_big16(ethernet + 12, kTypeVlan);
    put_big16(ethernet + 14, self.vlan);
  }
  put_big16(ipv4 - 2, kTypeIpv4);
  ipv4[0] = 0x45;
  put_big16(ipv4 + 6, 0x4000);  // do not fragment
  ipv4[8] = kTimeToLive;
  ipv4[9] = kProtocolUdp;
  put_big32(ipv4 + 12, self.ipv4);
  put_big16(udp, self.udp_port);
  ipv4_sum_ = ones_sum({ipv4, kIpv4Bytes});
  const std::array<std::uint8_t, 2> protocol = {0, kProtocolUdp};
  pseudo_sum_ = ones_sum({ipv4 + 12, 4}, ones_sum(protocol));
  own_port_ = wire::load<std::uint16_t>(udp);
}

std::uint8_t* HeaderWriter::write(std::uint8_t* payload, std::uint16_t length, const Endpoint& peer,
                                  Checksums checksums, std::uint8_t traffic_class) const {
  std::uint8_t* const begin = payload - size_;
  std::uint8_t* const udp = payload - kUdpBytes;
  std::uint8_t* const ipv4 = udp - kIpv4Bytes;
  // One copy of a fixed size; without a tag its first bytes fall before the frame.
  std::memcpy(payload - kHeadersBytesMax, template_.data(), kHeadersBytesMax);
  std::memcpy(begin, peer.mac.data(), 6);
  // Everything below is in network order, as it is stored and summed.
  const std::uint32_t destination = __builtin_bswap32(peer.ipv4);
  const std::uint16_t port = __builtin_bswap16(peer.udp_port);
  const std::uint16_t udp_bytes = __builtin_bswap16(static_cast<std::uint16_t>(length + kUdpBytes));
  const std::uint16_t ipv4_bytes =
      __builtin_bswap16(static_cast<std::uint16_t>(length + kUdpBytes + kIpv4Bytes));
  ipv4[1] = traffic_class;
  wire::store(ipv4 + 2, ipv4_bytes);
  wire::store(ipv4 + 16, destination);
  const std::uint64_t class_word = std::uint64_t{traffic_class} << 8;  // the second byte of a word
  wire::store(ipv4 + 10, folded(ipv4_sum_ + class_word + ipv4_bytes + destination));
  wire::store(udp + 2, port);
  wire::store(udp + 4, udp_bytes);
  const std::uint64_t pseudo = pseudo_sum_ + destination + udp_bytes;
  if (checksums == Checksums::kLeftToDevice) {
    // The complement of the checksum: the device adds the rest and complements.
    wire::store(udp + 6, static_cast<std::uint16_t>(~folded(pseudo)));
    return begin;
  }
  // The header's words are added from registers: they are still on their way to memory.
  const std::uint16_t checksum =
      folded(sum_of(payload, length, pseudo + own_port_ + port + udp_bytes));
  // Zero means "none" (RFC 768); all ones is the same sum.
  wire::store(udp + 6, checksum == 0 ? std::uint16_t{0xFFFF} : checksum);
  return begin;
}

}  // namespace driftlock::frame
