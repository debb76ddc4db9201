// The cluster's plain values: slots, placement, records, messages.
#include <gtest/gtest.h>

#include <set>

#include "src/cluster/node_record.hpp"
#include "src/cluster/peer_message.hpp"
#include "src/cluster/placement.hpp"

namespace driftlock::cluster {
namespace {

SlotMap owned_by_one() {
  SlotMap map;
  map.version = 1;
  for (SlotEntry& slot : map.slots) slot = {{1, 0}, 7, 5, false};
  return map;
}

void carry_out(SlotMap& map, const std::vector<SlotMove>& moves) {
  for (const SlotMove& move : moves) map.slots[move.slot].owner = move.to;
}

TEST(Slots, AreAPublicHash) {
  const std::string key = "backup";
  const LockName name{0, {reinterpret_cast<const std::uint8_t*>(key.data()), key.size()}};
  EXPECT_EQ(slot_of(name), slot_of(name));
  std::set<std::uint16_t> seen;
  for (int i = 0; i < 20000; ++i) {
    const std::string each = "k" + std::to_string(i);
    seen.insert(slot_of({3, {reinterpret_cast<const std::uint8_t*>(each.data()), each.size()}}));
  }
  EXPECT_EQ(seen.size(), kSlotCount);
}

TEST(Placement, BalancesWithTheFewestMoves) {
  SlotMap map = owned_by_one();
  const std::vector<OwnerEndpoint> three{{1, 0}, {2, 0}, {3, 0}};
  std::vector<SlotMove> moves = balance(map, three);
  EXPECT_EQ(moves.size(), kSlotCount - 342U);
  carry_out(map, moves);
  EXPECT_EQ(map.count_of(1), 342U);
  EXPECT_EQ(map.count_of(2), 341U);
  EXPECT_TRUE(balance(map, three).empty());
  const std::vector<OwnerEndpoint> two{{3, 0}, {2, 0}};
  moves = balance(map, two);
  EXPECT_EQ(moves.size(), 342U);
  carry_out(map, moves);
  EXPECT_EQ(map.count_of(2), 512U);
  EXPECT_EQ(map.count_of(3), 512U);
  EXPECT_TRUE(balance(map, {}).empty());
}

TEST(Placement, AFailOverMovesOnlyWhatWasLost) {
  SlotMap map = owned_by_one();
  carry_out(map, balance(map, std::vector<OwnerEndpoint>{{1, 0}, {2, 0}, {3, 0}, {3, 1}}));
  const SlotMap before = map;
  const std::vector<SlotMove> moves =
      fail_over(map, 1, std::vector<OwnerEndpoint>{{2, 0}, {3, 0}, {3, 1}});
  EXPECT_EQ(moves.size(), before.count_of(1));
  carry_out(map, moves);
  EXPECT_EQ(map.count_of(1), 0U);
  EXPECT_NEAR(map.count_of(2), 341, 1);
}

TEST(SlotMap, SurvivesItsCoding) {
  SlotMap map = owned_by_one();
  map.slots[9] = {{65535, 3}, 0x7FFFFF, kNever, true};
  const Result<SlotMap> again = decode_slot_map(encode(map));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again.value(), map);
  EXPECT_FALSE(decode_slot_map(encode(map).substr(1)).ok());
  EXPECT_FALSE(decode_slot_map(encode(map) + "x").ok());
  EXPECT_FALSE(decode_slot_map("").ok());
}

TEST(NodeRecord, SurvivesItsCoding) {
  NodeRecord record;
  record.id = 3;
  record.name = "c";
  record.ipv4 = 0x0A000001;
  record.udp_port = 4780;
  record.lease_end_tai_ns = 77;
  const Result<NodeRecord> again = decode_node_record(encode(record));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again.value(), record);
  EXPECT_FALSE(decode_node_record("nonsense").ok());
  EXPECT_FALSE(decode_node_record(encode(NodeRecord{})).ok());
}

TEST(PeerMessage, IsForOneNodeUnderOneKey) {
  const SecretKey key{{1, 2, 3, 4}};
  PeerMessage message;
  message.from = 2;
  message.to = 5;
  message.sequence = 9;
  message.lease_end_tai_ns = 1234;
  ClockReading now;
  now.tai = Interval::around(1000, 10);
  auto bytes = encode(message, now, key);
  const auto again = decode_peer_message(bytes, 5, key);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->lease_end_tai_ns, 1234);
  EXPECT_FALSE(decode_peer_message(bytes, 4, key).has_value());
  EXPECT_FALSE(decode_peer_message(bytes, 5, SecretKey{{1, 2, 3, 5}}).has_value());
  ++bytes[60];
  EXPECT_FALSE(decode_peer_message(bytes, 5, key).has_value());
}

}  // namespace
}  // namespace driftlock::cluster
