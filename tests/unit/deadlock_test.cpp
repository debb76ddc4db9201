#include "src/lock/deadlock.hpp"

#include <gtest/gtest.h>

namespace driftlock {
namespace {

TEST(Deadlock, NoneWhereEverybodyWaitsForOne) {
  const std::vector<WaitEdge> edges{{1, 9, 0, 0}, {2, 9, 0, 0}, {3, 1, 1, 0}};
  EXPECT_TRUE(find_deadlocks(edges).empty());
}

TEST(Deadlock, TwoThatWaitForEachOther) {
  const std::vector<WaitEdge> edges{{1, 2, 10, 5}, {2, 1, 11, 7}, {3, 1, 11, 1}};
  const auto cycles = find_deadlocks(edges);
  ASSERT_EQ(cycles.size(), 1U);
  ASSERT_EQ(cycles[0].size(), 2U);
  EXPECT_EQ(cycles[0][0].blocker, cycles[0][1].waiter);
  EXPECT_EQ(cycles[0][1].blocker, cycles[0][0].waiter);
}

TEST(Deadlock, EachKnotIsReportedOnceAsAClosedWalk) {
  const std::vector<WaitEdge> edges{{1, 2, 0, 0}, {2, 3, 1, 0}, {3, 1, 2, 0}, {4, 5, 3, 0},
                                    {5, 4, 4, 0}, {6, 1, 5, 0}, {2, 2, 6, 0}};
  const auto cycles = find_deadlocks(edges);
  ASSERT_EQ(cycles.size(), 2U);
  for (const auto& cycle : cycles) {
    for (std::size_t i = 0; i < cycle.size(); ++i) {
      EXPECT_EQ(cycle[i].blocker, cycle[(i + 1) % cycle.size()].waiter);
    }
  }
}

TEST(Deadlock, ALongQueueIsNoTrouble) {
  std::vector<WaitEdge> edges;
  constexpr std::uint64_t kWaiters = 100'000;
  for (std::uint64_t i = 1; i < kWaiters; ++i) edges.push_back({i, i + 1, 0, 0});
  EXPECT_TRUE(find_deadlocks(edges).empty());
  edges.push_back({kWaiters, 1, 1, 0});
  EXPECT_EQ(find_deadlocks(edges).size(), 1U);
}

}  // namespace
}  // namespace driftlock
