#include <gtest/gtest.h>

#include <vector>

#include "hw/chrony_message.hpp"

namespace driftlock {
namespace {

// A reply as chronyd 4.3 sends it, with the fields that matter.
std::vector<std::uint8_t> reply(std::uint32_t sequence) {
  std::vector<std::uint8_t> bytes(kChronyTrackingBytes, 0);
  const auto put = [&](std::size_t at, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i) {
      bytes[at + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
    }
  };
  bytes[0] = 6;
  bytes[1] = 2;
  put(4, 33U << 16 | 5U);
  put(16, sequence);
  put(28, 0x0A630001);  // reference id
  put(52, 2U << 16);    // stratum 2, no leap second
  // Numbers are coefficient * 2^(exponent - 25), 7 and 25 bits.
  put(68, (0U << 25) | 0x01800000);           // correction: -2^23 / 2^25 = -0.25 s
  put(92, ((128U - 8U) << 25) | (1U << 23));  // root delay: 2^23 / 2^33 = 2^-10 s
  put(96, ((128U - 9U) << 25) | (1U << 23));  // root dispersion: 2^-11 s
  return bytes;
}

TEST(ChronyMessage, ReadsTheTrackingReport) {
  const auto told = parse_chrony_tracking(reply(77), 77);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->stratum, 2);
  EXPECT_EQ(told->leap_status, 0);
  EXPECT_DOUBLE_EQ(told->correction_s, -0.25);
  EXPECT_DOUBLE_EQ(told->root_delay_s, 1.0 / 1024);
  EXPECT_DOUBLE_EQ(told->root_dispersion_s, 1.0 / 2048);
  const auto error = judge_chrony(*told);
  ASSERT_TRUE(error.ok());
  EXPECT_EQ(error.value(), 250 * kMillisecond + 976'563);  // 0.25 + 2^-11 + 2^-11, rounded up
}

TEST(ChronyMessage, RefusesWhatIsNoAnswer) {
  EXPECT_FALSE(parse_chrony_tracking(reply(77), 78));
  for (const std::size_t at : {0, 1, 5, 7, 9}) {
    auto bytes = reply(77);
    ++bytes[at];
    EXPECT_FALSE(parse_chrony_tracking(bytes, 77)) << at;
  }
  auto bytes = reply(77);
  bytes.pop_back();
  EXPECT_FALSE(parse_chrony_tracking(bytes, 77));
}

TEST(ChronyMessage, ARequestIsAsLongAsTheReply) {
  const auto request = chrony_tracking_request(0x01020304);
  EXPECT_EQ(request[0], 6);
  EXPECT_EQ(request[1], 1);
  EXPECT_EQ(request[5], 33);
  EXPECT_EQ(request[8], 1);
  EXPECT_EQ(request[11], 4);
}

TEST(ChronyMessage, JudgesNobodyWhoFollowsNobody) {
  ChronyTracking tracking;
  tracking.reference_id = 0x0A630001;
  EXPECT_FALSE(judge_chrony(tracking).ok());  // leap status: not synchronized
  tracking.leap_status = 0;
  EXPECT_TRUE(judge_chrony(tracking).ok());
  tracking.root_dispersion_s = 20.0;
  EXPECT_FALSE(judge_chrony(tracking).ok());
  tracking.root_dispersion_s = 0.0;
  tracking.reference_id = 0x7F7F0101;
  EXPECT_FALSE(judge_chrony(tracking).ok());
}

}  // namespace
}  // namespace driftlock
