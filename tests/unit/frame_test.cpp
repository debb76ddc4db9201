#include "src/lock/frame.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace driftlock::frame {
namespace {

using Bytes = std::vector<std::uint8_t>;

// "00 1c ff ..." as a packet is printed; blanks only separate.
Bytes hex(const std::string& text) {
  Bytes bytes;
  std::string digits;
  for (const char c : text) {
    if (c == ' ' || c == '\n') continue;
    digits.push_back(c);
    if (digits.size() == 2) {
      bytes.push_back(static_cast<std::uint8_t>(std::stoi(digits, nullptr, 16)));
      digits.clear();
    }
  }
  return bytes;
}

constexpr std::uint32_t ipv4(unsigned a, unsigned b, unsigned c, unsigned d) {
  return a << 24 | b << 16 | c << 8 | d;
}

const Interface kNode{{0x02, 0, 0, 0, 0, 0x01}, ipv4(10, 0, 0, 1), 4780, 0};
const Interface kTaggedNode{kNode.mac, kNode.ipv4, kNode.udp_port, 100};

// 10.0.0.2:40000 -> 10.0.0.1:4780, "lock!"; checksums as Linux fills them in.
const char* const kEthernet =
    "02 00 00 00 00 01  02 00 00 00 00 02 ";  // to the node, from its peer
const char* const kUdpRequest =
    "08 00 "
    "45 00 00 21  12 34 40 00  40 11 14 96  0a 00 00 02  0a 00 00 01 "
    "9c 40 12 ac  00 0d 00 00 "
    "6c 6f 63 6b 21";

Bytes request() {
  return hex(std::string(kEthernet) + kUdpRequest);
}

// After a change to the IPv4 header the checksum must be right again, or that is all that is seen.
void fix_ipv4_sum(Bytes& frame, std::size_t offset = 14) {
  const std::size_t header_bytes = std::size_t{frame[offset] & 0x0FU} * 4;
  std::memset(&frame[offset + 10], 0, 2);
  const std::uint16_t sum = fold(ones_sum({&frame[offset], header_bytes}));
  std::memcpy(&frame[offset + 10], &sum, 2);
}

Refusal parse(const Bytes& frame, const Interface& self = kNode) {
  View view;
  return parse(self, frame, Ipv4Checksum::kVerify, view);
}

std::string payload_of(const Bytes& frame, const View& view) {
  return {reinterpret_cast<const char*>(&frame[view.payload_offset]), view.payload_length};
}

TEST(FrameParse, FindsThePayloadAndTheSender) {
  const Bytes frame = request();
  View view;
  ASSERT_EQ(parse(kNode, frame, Ipv4Checksum::kVerify, view), Refusal::kNone);
  EXPECT_EQ(payload_of(frame, view), "lock!");
  EXPECT_EQ(view.peer.ipv4, ipv4(10, 0, 0, 2));
  EXPECT_EQ(view.peer.udp_port, 40000);
  EXPECT_EQ(view.peer.mac, (MacAddress{0x02, 0, 0, 0, 0, 0x02}));
}

TEST(FrameParse, IgnoresPaddingAfterTheDatagram) {
  Bytes frame = request();
  frame.resize(kFrameBytesMin, 0xEE);
  View view;
  ASSERT_EQ(parse(kNode, frame, Ipv4Checksum::kVerify, view), Refusal::kNone);
  EXPECT_EQ(payload_of(frame, view), "lock!");
}

TEST(FrameParse, StepsOverOneTagAndIpv4Options) {
  Bytes frame = hex(std::string(kEthernet) +
                    "81 00 20 64 08 00 "  // VLAN 100, priority 1
                    "46 00 00 25  12 34 40 00  40 11 00 00  0a 00 00 02  0a 00 00 01  01 01 01 00 "
                    "9c 40 12 ac  00 0d 00 00  6c 6f 63 6b 21");
  fix_ipv4_sum(frame, 18);
  View view;
  ASSERT_EQ(parse(kTaggedNode, frame, Ipv4Checksum::kVerify, view), Refusal::kNone);
  EXPECT_EQ(payload_of(frame, view), "lock!");
  EXPECT_EQ(parse(frame, kNode), Refusal::kForeignVlan);
  EXPECT_EQ(parse(request(), kTaggedNode), Refusal::kForeignVlan);
}

TEST(FrameParse, AcceptsAPriorityTagWithoutVlan) {
  EXPECT_EQ(parse(hex(std::string(kEthernet) + "81 00 a0 00 " + kUdpRequest)), Refusal::kNone);
}

TEST(FrameParse, RefusesTwoTags) {
  EXPECT_EQ(parse(hex(std::string(kEthernet) + "81 00 00 00 81 00 00 64 " + kUdpRequest)),
            Refusal::kForeignType);
}

TEST(FrameParse, RefusesEveryTruncation) {
  const Bytes whole = request();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    // A heap copy of exactly that length, so that a sanitizer sees a read past its end.
    const Bytes frame(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_EQ(parse(frame), Refusal::kTruncated) << length << " bytes";
  }
}

TEST(FrameParse, RefusesByReason) {
  struct Case {
    std::size_t offset;
    std::uint8_t value;
    Refusal refusal;
  };
  for (const Case& c : {
           Case{5, 0x07, Refusal::kForeignMac},
           Case{0, 0x03, Refusal::kForeignMac},  // a group address
           Case{13, 0xDD, Refusal::kForeignType},
           Case{14, 0x65, Refusal::kBadIpv4},          // version 6
           Case{14, 0x44, Refusal::kBadIpv4},          // header of 16 bytes
           Case{17, 0x10, Refusal::kBadIpv4},          // total shorter than the header
           Case{17, 0x22, Refusal::kTruncated},        // total longer than the frame
           Case{20, 0x20, Refusal::kFragment},         // more fragments
           Case{21, 0x01, Refusal::kFragment},         // not the first
           Case{33, 0x03, Refusal::kForeignAddress},   //
           Case{26, 0x7F, Refusal::kMartianSource},    // 127.0.0.2
           Case{26, 0xE0, Refusal::kMartianSource},    // 224.0.0.2
           Case{26, 0x00, Refusal::kMartianSource},    // 0.0.0.2
           Case{29, 0x01, Refusal::kMartianSource},    // our own address
           Case{23, 0x06, Refusal::kForeignProtocol},  // TCP
           Case{39, 0x07, Refusal::kBadUdpLength},     // shorter than its header
           Case{39, 0x0E, Refusal::kBadUdpLength},     // longer than the packet
           Case{37, 0xAD, Refusal::kForeignUdpPort},
       }) {
    Bytes frame = request();
    frame[c.offset] = c.value;
    if (c.refusal != Refusal::kBadIpv4) fix_ipv4_sum(frame);
    EXPECT_EQ(parse(frame), c.refusal) << "byte " << c.offset << ": " << to_string(parse(frame))
                                       << ", not " << to_string(c.refusal);
  }
}

TEST(FrameParse, ChecksTheIpv4SumUnlessTheDeviceHas) {
  Bytes frame = request();
  frame[24] ^= 1;
  EXPECT_EQ(parse(frame), Refusal::kBadIpv4Checksum);
  View view;
  EXPECT_EQ(parse(kNode, frame, Ipv4Checksum::kTrusted, view), Refusal::kNone);
}

TEST(FrameParse, RefusesASenderWithoutAPort) {
  Bytes frame = request();
  frame[34] = frame[35] = 0;
  EXPECT_EQ(parse(frame), Refusal::kMartianSource);
}

// The one's-complement sum of a UDP datagram and its pseudo header: 0xFFFF where the checksum is
// right, hence 0 after complementing.
std::uint16_t udp_residue(const Bytes& frame, std::size_t ipv4_offset) {
  const std::uint8_t* header = &frame[ipv4_offset];
  const std::size_t bytes = frame.size() - ipv4_offset - kIpv4Bytes;
  const Bytes pseudo = {0, 17, static_cast<std::uint8_t>(bytes >> 8),
                        static_cast<std::uint8_t>(bytes)};
  return fold(ones_sum({header + kIpv4Bytes, bytes}, ones_sum({header + 12, 8}, ones_sum(pseudo))));
}

TEST(HeaderWriter, AnswersInPlaceWithRightChecksums) {
  Bytes buffer(64, 0xEE);  // headroom
  const Bytes received = request();
  buffer.insert(buffer.end(), received.begin(), received.end());
  View view;
  ASSERT_EQ(parse(kNode, received, Ipv4Checksum::kVerify, view), Refusal::kNone);
  const HeaderWriter writer(kNode);
  const std::uint8_t* begin = writer.write(&buffer[64U + view.payload_offset], view.payload_length,
                                           view.peer, Checksums::kCompute);
  ASSERT_EQ(begin, &buffer[64]);
  const Bytes sent(buffer.begin() + 64, buffer.end());
  EXPECT_EQ(sent, hex("02 00 00 00 00 02  02 00 00 00 00 01  08 00 "
                      "45 00 00 21  00 00 40 00  40 11 26 ca  0a 00 00 01  0a 00 00 02 "
                      "12 ac 9c 40  00 0d 4c 0a  6c 6f 63 6b 21"));
  EXPECT_EQ(udp_residue(sent, 14), 0);
}

TEST(HeaderWriter, WhatItWritesTheOtherSideParses) {
  for (const Interface& self : {kNode, kTaggedNode}) {
    const HeaderWriter writer(self);
    const Interface peer{{0x02, 0, 0, 0, 0, 0x02}, ipv4(10, 0, 0, 2), 40001, self.vlan};
    for (std::size_t length = 0; length <= 1408; ++length) {
      Bytes buffer(kHeadersBytesMax + length);
      for (std::size_t i = 0; i < length; ++i) {
        buffer[kHeadersBytesMax + i] = static_cast<std::uint8_t>(i * 7 + length);
      }
      const std::uint8_t* begin =
          writer.write(buffer.data() + kHeadersBytesMax, static_cast<std::uint16_t>(length),
                       {peer.ipv4, peer.udp_port, peer.mac}, Checksums::kCompute);
      const Bytes frame(begin, static_cast<const std::uint8_t*>(buffer.data()) + buffer.size());
      View view;
      ASSERT_EQ(parse(peer, frame, Ipv4Checksum::kVerify, view), Refusal::kNone);
      ASSERT_EQ(view.payload_length, length);
      ASSERT_EQ(view.peer.udp_port, self.udp_port);
      ASSERT_EQ(udp_residue(frame, writer.ethernet_bytes()), 0) << length;
    }
  }
}

TEST(HeaderWriter, NeverSendsAChecksumOfZero) {
  const HeaderWriter writer(kNode);
  Bytes buffer(kHeadersBytesMax + 2);
  std::size_t all_ones = 0;
  for (unsigned word = 0; word <= 0xFFFF; ++word) {
    buffer[kHeadersBytesMax] = static_cast<std::uint8_t>(word >> 8);
    buffer[kHeadersBytesMax + 1] = static_cast<std::uint8_t>(word);
    const std::uint8_t* begin = writer.write(buffer.data() + kHeadersBytesMax, 2,
                                             {ipv4(10, 0, 0, 2), 40000, {}}, Checksums::kCompute);
    const std::uint8_t* sum = begin + 14 + 20 + 6;
    ASSERT_FALSE(sum[0] == 0 && sum[1] == 0) << word;
    if (sum[0] == 0xFF && sum[1] == 0xFF) ++all_ones;
  }
  EXPECT_GE(all_ones, 1U);
}

TEST(HeaderWriter, LeavesThePseudoHeadersSumToTheDevice) {
  const HeaderWriter writer(kNode);
  Bytes buffer(kHeadersBytesMax + 5);
  const std::uint8_t* begin =
      writer.write(buffer.data() + kHeadersBytesMax, 5, {ipv4(10, 0, 0, 2), 40000, {}},
                   Checksums::kLeftToDevice);
  // 0a00 + 0001 + 0a00 + 0002 + 0011 + 000d
  EXPECT_EQ(begin[40], 0x14);
  EXPECT_EQ(begin[41], 0x21);
}

TEST(Neighbour, AnswersAnArpRequestForItsAddress) {
  Bytes frame =
      hex("ff ff ff ff ff ff  02 00 00 00 00 02  08 06 "
          "00 01 08 00 06 04 00 01 "
          "02 00 00 00 00 02  0a 00 00 02  00 00 00 00 00 00  0a 00 00 01");
  frame.resize(kFrameBytesMin);
  ASSERT_EQ(answer_neighbour(kNode, frame), Refusal::kNone);
  Bytes reply =
      hex("02 00 00 00 00 02  02 00 00 00 00 01  08 06 "
          "00 01 08 00 06 04 00 02 "
          "02 00 00 00 00 01  0a 00 00 01  02 00 00 00 00 02  0a 00 00 02");
  reply.resize(kFrameBytesMin);
  EXPECT_EQ(frame, reply);
}

TEST(Neighbour, LeavesOtherArpAlone) {
  const Bytes request =
      hex("ff ff ff ff ff ff  02 00 00 00 00 02  08 06 "
          "00 01 08 00 06 04 00 01 "
          "02 00 00 00 00 02  0a 00 00 02  00 00 00 00 00 00  0a 00 00 01");
  Bytes frame = request;
  frame[41] = 3;  // asks for 10.0.0.3
  EXPECT_EQ(answer_neighbour(kNode, frame), Refusal::kForeignType);
  frame = request;
  frame[21] = 2;  // a reply
  EXPECT_EQ(answer_neighbour(kNode, frame), Refusal::kForeignType);
  frame = request;
  frame[27] = 9;  // speaks for another station
  EXPECT_EQ(answer_neighbour(kNode, frame), Refusal::kMartianSource);
  frame = request;
  frame.pop_back();
  EXPECT_EQ(answer_neighbour(kNode, frame), Refusal::kTruncated);
}

// ping -c 1 -s 9 -p 70, its odd length included.
const char* const kPing =
    "08 00 "
    "45 00 00 25  be ef 40 00  37 01 00 00  0a 00 00 02  0a 00 00 01 "
    "08 00 00 00  00 07 00 01  70 70 70 70 70 70 70 70 71";

Bytes ping() {
  Bytes frame = hex(std::string(kEthernet) + kPing);
  fix_ipv4_sum(frame);
  const std::uint16_t sum = fold(ones_sum({&frame[34], frame.size() - 34}));
  std::memcpy(&frame[36], &sum, 2);
  return frame;
}

TEST(Neighbour, AnswersAnIcmpEcho) {
  Bytes frame = ping();
  ASSERT_EQ(answer_neighbour(kNode, frame), Refusal::kNone);
  EXPECT_EQ(Bytes(frame.begin(), frame.begin() + 14),
            hex("02 00 00 00 00 02  02 00 00 00 00 01  08 00"));
  EXPECT_EQ(Bytes(frame.begin() + 26, frame.begin() + 36), hex("0a 00 00 01  0a 00 00 02  00 00"));
  EXPECT_EQ(frame[22], 64);  // time to live
  EXPECT_EQ(fold(ones_sum({&frame[14], kIpv4Bytes})), 0);
  EXPECT_EQ(fold(ones_sum({&frame[34], frame.size() - 34})), 0);
  EXPECT_EQ(Bytes(frame.begin() + 38, frame.end()), hex("00 07 00 01  70 70 70 70 70 70 70 70 71"));
}

TEST(Neighbour, RefusesEchoesThatAreDamagedOrNotForUs) {
  Bytes frame = ping();
  frame.back() ^= 1;
  EXPECT_EQ(answer_neighbour(kNode, frame), Refusal::kBadChecksum);
  frame = ping();
  frame[34] = 0;  // an echo reply: answering one would never end
  EXPECT_EQ(answer_neighbour(kNode, frame), Refusal::kForeignProtocol);
  frame = ping();
  frame[33] = 9;
  fix_ipv4_sum(frame);
  EXPECT_EQ(answer_neighbour(kNode, frame), Refusal::kForeignAddress);
  frame = ping();
  std::memset(frame.data(), 0xFF, 6);  // to everybody: a smurf
  EXPECT_EQ(answer_neighbour(kNode, frame), Refusal::kForeignMac);
}

TEST(Neighbour, RefusesEveryTruncationAndChangesNothing) {
  for (std::size_t length = 0; length < ping().size(); ++length) {
    const Bytes whole = ping();
    Bytes frame(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    const Bytes before = frame;
    EXPECT_NE(answer_neighbour(kNode, frame), Refusal::kNone) << length;
    EXPECT_EQ(frame, before) << length;
  }
}

}  // namespace
}  // namespace driftlock::frame
