#include <gtest/gtest.h>

#include <vector>

#include "src/lock/mac.hpp"
#include "src/lock/mac_batch.hpp"
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

// The reference's own test vectors hold for the library; that ours are the library's is shown here.
TEST(Mac, BatchedEqualsSingleForEveryLength) {
  std::vector<std::uint8_t> bytes(wire::kDatagramBytesMax * kMacLanes);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  std::array<SecretKey, kMacLanes> keys;
  for (std::size_t i = 0; i < kMacLanes; ++i) keys[i] = {{i, i + 1, ~i, i * i}};
  for (std::size_t length = 0; length <= wire::kDatagramBytesMax; length += length < 200 ? 1 : 37) {
    std::array<MacJob, kMacLanes> jobs;
    for (std::size_t i = 0; i < kMacLanes; ++i) {
      jobs[i] = {&keys[i], bytes.data() + i * wire::kDatagramBytesMax};
    }
    std::array<Mac, kMacLanes> macs;
    compute_macs(jobs, kMacLanes, length, macs);
    for (std::size_t i = 0; i < kMacLanes; ++i) {
      ASSERT_EQ(macs[i], compute_mac(keys[i], {jobs[i].message, length})) << length;
    }
  }
}

TEST(Mac, BatchAnswersEveryDatagramWhateverTheLengths) {
  const SecretKey key{{9, 8, 7, 6}};
  std::vector<std::vector<std::uint8_t>> datagrams;
  for (const std::size_t ops : {1, 1, 1, 1, 1, 2, 1, 3, 3, 3, 14}) {
    datagrams.push_back(request_datagram(ops));
    datagrams.back()[20] = static_cast<std::uint8_t>(datagrams.size());
  }
  std::vector<Mac> macs(datagrams.size());
  MacBatch batch([&](std::size_t index, const Mac& mac) { macs[index] = mac; });
  for (std::size_t i = 0; i < datagrams.size(); ++i) {
    batch.add(i, key, datagrams[i].data(), datagrams[i].size());
  }
  batch.flush();
  for (std::size_t i = 0; i < datagrams.size(); ++i) {
    sign_datagram(key, datagrams[i]);
    EXPECT_EQ(wire::load<Mac>(datagrams[i].data() + datagrams[i].size() - wire::kMacBytes),
              macs[i]);
  }
}

}  // namespace
}  // namespace driftlock
