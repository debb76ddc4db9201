#include <gtest/gtest.h>

#include <vector>

#include "src/lock/mac.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {
namespace {

std::vector<std::uint8_t> request_datagram(std::size_t op_count) {
  std::vector<std::uint8_t> bytes(wire::datagram_bytes(op_count));
  wire::Header header;
  header.length = static_cast<std::uint16_t>(bytes.size());
  header.op_count = static_cast<std::uint8_t>(op_count);
  wire::store(bytes.data(), header);
  return bytes;
}

TEST(Wire, AcceptsWhatIsWellFormed) {
  for (std::size_t ops = 1; ops <= wire::kOpsMax; ++ops) {
    EXPECT_EQ(wire::check_request(request_datagram(ops)), wire::Reject::kNone);
  }
}

TEST(Wire, RefusesByReason) {
  auto bytes = request_datagram(1);
  bytes.pop_back();
  EXPECT_EQ(wire::check_request(bytes), wire::Reject::kTruncated);
  bytes = request_datagram(1);
  bytes.push_back(0);
  EXPECT_EQ(wire::check_request(bytes), wire::Reject::kOversized);
  bytes = request_datagram(1);
  bytes[0] ^= 1;
  EXPECT_EQ(wire::check_request(bytes), wire::Reject::kBadMagic);
  bytes = request_datagram(1);
  bytes[4] = 2;
  EXPECT_EQ(wire::check_request(bytes), wire::Reject::kBadVersion);
  bytes = request_datagram(1);
  bytes[5] = 1;
  EXPECT_EQ(wire::check_request(bytes), wire::Reject::kBadKind);
  bytes = request_datagram(1);
  bytes[42] = 2;
  EXPECT_EQ(wire::check_request(bytes), wire::Reject::kBadCount);
  EXPECT_EQ(wire::check_request({}), wire::Reject::kTruncated);
}

TEST(Mac, EveryBitOfMessageAndKeyCounts) {
  SecretKey key{{1, 2, 3, 4}};
  auto bytes = request_datagram(1);
  sign_datagram(key, bytes);
  EXPECT_TRUE(verify_datagram(key, bytes));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    ASSERT_FALSE(verify_datagram(key, bytes)) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
  }
  for (std::size_t word = 0; word < 4; ++word) {
    key.words[word] ^= 1;
    EXPECT_FALSE(verify_datagram(key, bytes));
    key.words[word] ^= 1;
  }
}

}  // namespace
}  // namespace driftlock
