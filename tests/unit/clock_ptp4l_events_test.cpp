#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "hw/ptp4l_events.hpp"

namespace driftlock {
namespace {

// As ptp4l 3.1.1 sent them to a socket.
constexpr const char* kSync =
    "0c02005c00000000000000000000000000000000caecb1fffe3f05d700000001057fffffffffffffffffffff8004"
    "002c56643bfffe3815ab0001000300006b058025264587d800000000000000000000000000006b05802526459223";
constexpr const char* kDelay =
    "0c02005800000000000000000000000000000000caecb1fffe3f05d700000000057fffffffffffffffffffff7f00"
    "002856643bfffe3815ab0001000000006b05802634d6c1f2000000000000000000006b05802634d6cc7a";

std::vector<std::uint8_t> bytes(const std::string& hex) {
  std::vector<std::uint8_t> out;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    out.push_back(static_cast<std::uint8_t>(std::strtol(hex.substr(i, 2).c_str(), nullptr, 16)));
  }
  return out;
}

TEST(Ptp4lEvents, ReadsWhatPtp4lSent) {
  std::vector<Ptp4lEvent> events;
  ASSERT_TRUE(parse_ptp4l_events(bytes(kSync), events));
  ASSERT_TRUE(parse_ptp4l_events(bytes(kDelay), events));
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kind, Ptp4lEvent::Kind::kSync);
  EXPECT_EQ(events[0].sequence, 3);
  EXPECT_EQ(events[0].sent_ns, 0x6b058025LL * kSecond + 0x264587d8);
  EXPECT_EQ(events[0].received_ns - events[0].sent_ns, 0x26459223 - 0x264587d8);
  EXPECT_EQ(events[1].kind, Ptp4lEvent::Kind::kDelay);
  EXPECT_EQ(events[1].received_ns - events[1].sent_ns, 0x34d6cc7a - 0x34d6c1f2);
  EXPECT_DOUBLE_EQ(events[1].correction_ns, 0.0);
}

TEST(Ptp4lEvents, RefusesWhatIsCutShortOrNoSignal) {
  const auto whole = bytes(kSync);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    std::vector<Ptp4lEvent> events;
    parse_ptp4l_events({whole.data(), size}, events);
    EXPECT_TRUE(events.empty()) << size;
  }
  auto other = whole;
  other[0] = 0x0D;
  std::vector<Ptp4lEvent> events;
  EXPECT_FALSE(parse_ptp4l_events(other, events));
}

}  // namespace
}  // namespace driftlock
