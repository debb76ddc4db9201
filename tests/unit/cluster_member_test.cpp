// What a cluster's members promise: one owner at a time, horizons respected, whatever fails.
#include <gtest/gtest.h>

#include "tests/unit/cluster_world.hpp"

namespace driftlock::test {
namespace {

bool settled(ClusterWorld& world, std::initializer_list<std::size_t> nodes) {
  std::uint32_t total = 0;
  for (const std::size_t node : nodes) {
    const std::uint32_t served = world.served(node);
    if (served < kSlotCount / nodes.size() || served > kSlotCount / nodes.size() + 1) return false;
    total += served;
  }
  return total == kSlotCount;
}

// Three nodes that share the slots.
void settle(ClusterWorld& world) {
  ASSERT_TRUE(world.run(20 * kSecond, [&] { return settled(world, {0, 1, 2}); }));
  world.run(3 * kSecond);  // beyond the grace of a newcomer
}

TEST(ClusterMember, ShareTheSlots) {
  ClusterWorld world(3);
  settle(world);
  EXPECT_EQ(world.member(0).map(), world.member(2).map());
}

TEST(ClusterMember, TheDeadAreReplacedWhenTheirLeaseHasEnded) {
  ClusterWorld world(3);
  settle(world);
  world.node(0).running = false;
  const Nanoseconds killed = world.now_ns;
  ASSERT_TRUE(world.run(2 * kSecond, [&] { return settled(world, {1, 2}); }));
  EXPECT_LE(world.now_ns - killed, 140 * kMillisecond);
  const SlotMap& map = world.member(1).map();
  for (const SlotEntry& slot : map.slots) EXPECT_LE(slot.leases_until_tai_ns, killed + kSecond / 2);
}

TEST(ClusterMember, TheFrozenServesNothingWhenItWakes) {
  ClusterWorld world(3);
  settle(world);
  world.node(1).running = false;
  ASSERT_TRUE(world.run(2 * kSecond, [&] { return settled(world, {0, 2}); }));
  world.node(1).running = true;
  EXPECT_EQ(world.served(1), 0U);
  ASSERT_TRUE(world.run(20 * kSecond, [&] { return settled(world, {0, 1, 2}); }));
}

TEST(ClusterMember, ACoordinatorWithoutALeaderStopsNobody) {
  ClusterWorld world(3);
  settle(world);
  world.store_up = false;
  world.run(1500 * kMillisecond, [&] {
    EXPECT_EQ(world.served_by_all(), kSlotCount);
    return ::testing::Test::HasFailure();
  });
  world.store_up = true;
  world.run(kSecond);
  EXPECT_EQ(world.served_by_all(), kSlotCount);
}

TEST(ClusterMember, WithoutACoordinatorOwnersServeUntilTheGraceEndsAndComeBack) {
  ClusterWorld world(3);
  settle(world);
  world.store_up = false;
  ASSERT_TRUE(world.run(5 * kSecond, [&] { return world.served_by_all() == 0; }));
  EXPECT_TRUE(world.member(0).lapsed());
  world.store_up = true;
  ASSERT_TRUE(world.run(5 * kSecond, [&] { return world.served_by_all() == kSlotCount; }));
}

TEST(ClusterMember, CutOffFromTheCoordinatorANodeIsReplacedAfterTheGrace) {
  ClusterWorld world(3);
  settle(world);
  world.node(2).reaches_store = false;
  world.run(1500 * kMillisecond);
  EXPECT_GT(world.served(2), 0U);
  ASSERT_TRUE(world.run(3 * kSecond, [&] { return settled(world, {0, 1}); }));
}

TEST(ClusterMember, ADrainedNodeHandsOverAndLeaves) {
  ClusterWorld world(3);
  settle(world);
  world.member(0).drain(true);
  ASSERT_TRUE(world.run(5 * kSecond, [&] {
    EXPECT_GE(world.served_by_all(), kSlotCount - 128);
    return settled(world, {1, 2});
  }));
  for (const SlotEntry& slot : world.member(1).map().slots) {
    EXPECT_LT(slot.fresh_after_tai_ns(), world.now_ns);
  }
  world.member(0).leave();
  ASSERT_TRUE(world.run(kSecond, [&] { return world.member(0).phase() == MemberPhase::kLeft; }));
  world.run(kSecond);
  EXPECT_EQ(world.member(1).peers().size(), 1U);
}

TEST(ClusterMember, AYieldedNodesSlotsNeedNoLeaseToEnd) {
  ClusterWorld world(3);
  settle(world);
  const Nanoseconds before = world.now_ns;
  world.member(0).yield();
  EXPECT_EQ(world.served(0), 0U);
  world.member(0).yielded();
  ASSERT_TRUE(world.run(kSecond, [&] { return settled(world, {1, 2}); }));
  EXPECT_LE(world.now_ns - before, 50 * kMillisecond);  // renewals race it for the map
}

TEST(ClusterMember, ARestartedNodeTakesItsOwnSlotsUnderANewEpoch) {
  ClusterWorld world(1);
  ASSERT_TRUE(world.run(kSecond, [&] { return world.served(0) == kSlotCount; }));
  const std::uint32_t before = world.member(0).map().slots[5].epoch;
  world.start(0);
  ASSERT_TRUE(world.run(kSecond, [&] { return world.served(0) == kSlotCount; }));
  EXPECT_GT(world.member(0).map().slots[5].epoch, before);
  EXPECT_GE(world.member(0).map().slots[5].fresh_after_tai_ns(), world.now_ns);
}

// Everything that may fail does, at random: check() looks at each step that no slot has two owners,
// that epochs rise, and that no horizon is forgotten.
class ClusterStorm : public ::testing::TestWithParam<int> {};

TEST_P(ClusterStorm, NoTwoOwners) {
  const auto seed = static_cast<std::uint64_t>(GetParam());
  ClusterWorld world(3 + seed % 3, seed);
  std::mt19937_64 random(seed);
  const std::size_t nodes = 3 + seed % 3;
  for (std::size_t i = 0; i < nodes; ++i) {
    world.node(i).clock_error_ns = static_cast<Nanoseconds>(random() % 1'900'000) - 950'000;
  }
  world.store_fails = 0.05;
  world.peer_loss = 0.05;
  for (int round = 0; round < 60 && !::testing::Test::HasFatalFailure(); ++round) {
    const std::size_t at = random() % nodes;
    ClusterWorld::Node& node = world.node(at);
    switch (random() % 9) {
      case 0:
      case 1:
        node.running = !node.running;
        break;
      case 2:
        node.reaches_store = !node.reaches_store;
        break;
      case 3:
        node.reaches_peers = !node.reaches_peers;
        break;
      case 4:
        world.store_up = !world.store_up;
        break;
      case 5:
        world.start(at);
        break;
      case 6:
        world.member(at).drain(random() % 2 == 0);
        break;
      case 7:
        world.member(at).yield();
        world.member(at).yielded();
        break;
      default:
        for (std::size_t i = 0; i < nodes; ++i) {
          world.node(i).running = world.node(i).reaches_store = true;
          world.node(i).reaches_peers = true;
        }
        world.store_up = true;
        break;
    }
    world.run(static_cast<Nanoseconds>(random() % 600) * kMillisecond);
  }
  world.store_up = true;
  world.store_fails = 0;
  for (std::size_t i = 0; i < nodes; ++i) {
    world.node(i).running = world.node(i).reaches_store = world.node(i).reaches_peers = true;
    world.member(i).drain(false);
  }
  ASSERT_TRUE(world.run(20 * kSecond, [&] { return world.served_by_all() == kSlotCount; }));
}

INSTANTIATE_TEST_SUITE_P(Seeds, ClusterStorm, ::testing::Range(1, 13));

}  // namespace
}  // namespace driftlock::test
