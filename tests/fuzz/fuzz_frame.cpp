// Fuzz target: Ethernet, IPv4, UDP, ARP and ICMP parsing, and the headers written back. The first
// byte chooses the interface; the rest is the frame, in a buffer of exactly its size and headroom,
// so that ASan sees a byte read or written outside.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "src/base/assert.hpp"
#include "src/lock/frame.hpp"
#include "src/lock/wire.hpp"

using namespace driftlock;

namespace {

constexpr frame::MacAddress kOwnMac{0x02, 0, 0, 0, 0, 1};

void write_reply(const frame::Interface& self, std::vector<std::uint8_t>& bytes,
                 const frame::View& view, frame::Checksums checksums) {
  const std::vector<std::uint8_t> payload(
      bytes.begin() + view.payload_offset,
      bytes.begin() + view.payload_offset + view.payload_length);
  std::vector<std::uint8_t> buffer(frame::kHeadersBytesMax);
  buffer.insert(buffer.end(), payload.begin(), payload.end());
  const frame::HeaderWriter writer(self);
  std::uint8_t* begin = writer.write(buffer.data() + frame::kHeadersBytesMax, view.payload_length,
                                     view.peer, checksums);
  DRIFTLOCK_ASSERT(begin >= buffer.data());
  // What we send, the peer must be able to read, and it must read the same payload.
  frame::Interface other;
  other.mac = view.peer.mac;
  other.ipv4 = view.peer.ipv4;
  other.udp_port = view.peer.udp_port;
  other.vlan = self.vlan;
  frame::View seen;
  const std::span<const std::uint8_t> sent{begin, buffer.data() + buffer.size()};
  const auto refusal = frame::parse(other, sent, frame::Ipv4Checksum::kVerify, seen);
  if (refusal != frame::Refusal::kNone) {
    // A peer may claim a group address or ours; it is still answered, and only it is hurt.
    DRIFTLOCK_ASSERT(refusal == frame::Refusal::kForeignMac ||
                     refusal == frame::Refusal::kMartianSource);
    return;
  }
  DRIFTLOCK_ASSERT(seen.payload_length == view.payload_length);
  DRIFTLOCK_ASSERT(seen.peer.ipv4 == self.ipv4 && seen.peer.udp_port == self.udp_port);
  DRIFTLOCK_ASSERT(payload.empty() || std::memcmp(sent.data() + seen.payload_offset, payload.data(),
                                                  payload.size()) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::uint8_t choice = data[0];
  frame::Interface self;
  self.mac = kOwnMac;
  self.ipv4 = 0x0A000001;
  self.udp_port = wire::kDefaultPort;
  self.vlan = (choice & 1U) != 0 ? 5 : 0;
  std::vector<std::uint8_t> bytes(data + 1, data + size);
  if (bytes.size() > 2048) bytes.resize(2048);
  const auto checksum =
      (choice & 2U) != 0 ? frame::Ipv4Checksum::kTrusted : frame::Ipv4Checksum::kVerify;
  frame::View view;
  const frame::Refusal refusal = frame::parse(self, bytes, checksum, view);
  DRIFTLOCK_ASSERT(frame::to_string(refusal) != nullptr);
  if (refusal == frame::Refusal::kNone) {
    DRIFTLOCK_ASSERT(std::size_t{view.payload_offset} + view.payload_length <= bytes.size());
    write_reply(self, bytes, view,
                (choice & 4U) != 0 ? frame::Checksums::kLeftToDevice : frame::Checksums::kCompute);
    return 0;
  }
  const std::vector<std::uint8_t> before = bytes;
  if (frame::answer_neighbour(self, bytes) != frame::Refusal::kNone) {
    DRIFTLOCK_ASSERT(bytes == before);  // a frame that is not served is left as it was
  }
  DRIFTLOCK_ASSERT(bytes.size() == before.size());
  return 0;
}
