#include "src/cluster/fusion.hpp"

#include <gtest/gtest.h>

#include "src/cluster/adjustment.hpp"

namespace driftlock {
namespace {

using gossip::Reason;
using gossip::Stage;

FusionSource source(NodeId id, Nanoseconds middle, Nanoseconds half, double sigma) {
  return {id, Interval::around(middle, half), middle, sigma, true};
}

TEST(Intersect, FindsWhatEnoughShare) {
  const std::vector<Interval> intervals{{8, 12}, {11, 13}, {14, 15}};
  Interval shared;
  ASSERT_TRUE(intersect(intervals, 2, shared));
  EXPECT_EQ(shared, (Interval{11, 12}));
  EXPECT_FALSE(intersect(intervals, 3, shared));
  ASSERT_TRUE(intersect(intervals, 1, shared));
  EXPECT_EQ(shared, (Interval{8, 15}));
  ASSERT_TRUE(intersect(std::vector<Interval>{{1, 2}, {2, 3}}, 2, shared));
  EXPECT_EQ(shared, (Interval{2, 2}));
}

TEST(Fuse, OneOfThreeIsFalse) {
  const std::vector<FusionSource> sources{source(1, 0, 100, 20), source(2, 50, 100, 20),
                                          source(3, 5000, 100, 20)};
  const Fused fused = fuse(sources, 1);
  ASSERT_TRUE(fused.valid);
  EXPECT_EQ(fused.verdicts[2], SourceVerdict::kFalse);
  EXPECT_EQ(fused.hard, (Interval{-50, 100}));
  EXPECT_EQ(fused.rejected, 1U);
}

TEST(Fuse, TwoThatDisagreeAreHeldBoth) {
  const Fused fused = fuse(std::vector{source(1, 0, 10, 2), source(2, 500, 10, 2)}, 0);
  EXPECT_FALSE(fused.valid);
  EXPECT_EQ(fused.hard, (Interval{-10, 510}));
}

TEST(Fuse, EqualClocksAreNoMoreCertainTogether) {
  // They may all be wrong by the same: covariance intersection gains nothing by their number.
  std::vector<FusionSource> sources;
  for (NodeId id = 1; id <= 9; ++id) sources.push_back(source(id, 0, 1000, 100));
  const Fused fused = fuse(sources, 0);
  EXPECT_NEAR(fused.sigma_ns, 100.0, 1e-6);
}

TEST(Fuse, LessUncertainClocksWeighMore) {
  const Fused fused = fuse(std::vector{source(1, 0, 1000, 10), source(2, 100, 1000, 100)}, 0);
  EXPECT_LT(fused.estimate_ns, 5);
  EXPECT_LT(fused.sigma_ns, 15.0);
}

TEST(Fuse, AClockThatClaimsToBeSureDoesNotPullTheRest) {
  // It passes the intersection, and says that it is certain to a nanosecond.
  std::vector<FusionSource> sources;
  for (NodeId id = 1; id <= 5; ++id) sources.push_back(source(id, 0, 1000, 100));
  sources.push_back(source(6, 440, 600, 1));
  const Fused fused = fuse(sources, 2);
  EXPECT_LT(fused.estimate_ns, 100);
  EXPECT_TRUE(fused.statistical.contains(0));
}

TEST(Fuse, WhoStatesNoBoundDoesNotVote) {
  std::vector<FusionSource> sources{source(1, 0, 10, 2), source(2, 1, 10, 2)};
  sources.push_back({});
  const Fused fused = fuse(sources, 1);
  EXPECT_EQ(fused.voters, 2U);
  EXPECT_EQ(fused.verdicts[2], SourceVerdict::kSilent);
}

SkewEvidence off_by(Nanoseconds offset_ns) {
  SkewEvidence evidence;
  evidence.enough = true;
  evidence.offset_ns = offset_ns;
  evidence.offset_sigma_ns = 1000.0;
  evidence.improbable = offset_ns != 0;
  evidence.faulty_max = 1;
  return evidence;
}

std::vector<Stage> stages(Adjustment& adjustment) {
  std::vector<Stage> seen;
  AdjustmentChange change;
  while (adjustment.take_change(change)) seen.push_back(change.to);
  return seen;
}

TEST(Adjustment, GoesThroughItsStagesAndBack) {
  Adjustment adjustment({});
  Nanoseconds now = 0;
  const auto look = [&](Nanoseconds offset, bool owns, int times) {
    for (int i = 0; i < times; ++i, now += 100 * kMillisecond) {
      adjustment.look(off_by(offset), owns, now);
    }
  };
  look(0, true, 5);
  EXPECT_EQ(adjustment.stage(), Stage::kNormal);
  look(100'000, true, 1);
  EXPECT_EQ(adjustment.stage(), Stage::kSuspect);
  EXPECT_EQ(adjustment.guard_ns(), 200'000);
  EXPECT_TRUE(adjustment.may_take_ownership());
  look(100'000, true, 8);
  EXPECT_EQ(adjustment.stage(), Stage::kHandingOver);
  EXPECT_FALSE(adjustment.may_take_ownership());
  look(100'000, false, 1);
  EXPECT_EQ(adjustment.stage(), Stage::kOutside);
  look(0, false, 21);
  EXPECT_EQ(adjustment.stage(), Stage::kReturning);
  EXPECT_GT(adjustment.guard_ns(), 0);
  look(0, false, 21);
  EXPECT_EQ(adjustment.stage(), Stage::kNormal);
  EXPECT_EQ(adjustment.guard_ns(), 0);
  EXPECT_EQ(stages(adjustment),
            (std::vector{Stage::kSuspect, Stage::kWithdrawn, Stage::kHandingOver, Stage::kOutside,
                         Stage::kReturning, Stage::kNormal}));
}

TEST(Adjustment, AShortSuspicionCostsNoOwnership) {
  Adjustment adjustment({});
  adjustment.look(off_by(50'000), true, 0);
  for (Nanoseconds now = 0; now < 3 * kSecond; now += 100 * kMillisecond) {
    adjustment.look(off_by(0), true, now);
  }
  EXPECT_EQ(stages(adjustment), (std::vector{Stage::kSuspect, Stage::kNormal}));
}

TEST(Adjustment, OneAccuserIsNotBelieved) {
  Adjustment adjustment({});
  SkewEvidence evidence = off_by(0);
  evidence.accusers = 1;
  adjustment.look(evidence, true, 0);
  EXPECT_EQ(adjustment.stage(), Stage::kNormal);
  evidence.accusers = 2;
  adjustment.look(evidence, true, 1);
  EXPECT_EQ(adjustment.stage(), Stage::kSuspect);
  EXPECT_EQ(adjustment.reason(), Reason::kAlerts);
}

TEST(Adjustment, TwoNodesThatDisagreeBothWidenAndNeitherLeaves) {
  Adjustment adjustment({});
  SkewEvidence evidence;
  evidence.outside = true;
  evidence.offset_ns = 70'000;
  for (Nanoseconds now = 0; now < 3 * kSecond; now += 100 * kMillisecond) {
    adjustment.look(evidence, true, now);
  }
  EXPECT_EQ(stages(adjustment), (std::vector{Stage::kSuspect}));
  EXPECT_TRUE(adjustment.may_take_ownership());
}

TEST(Adjustment, ClientsAccuseWhereEnoughAgree) {
  Adjustment adjustment({});
  SkewEvidence evidence;
  evidence.clients = 5;
  evidence.client_offset_ns = -400'000;
  evidence.client_error_ns = 100'000;
  adjustment.look(evidence, true, 0);
  EXPECT_EQ(adjustment.reason(), Reason::kClients);
  EXPECT_EQ(adjustment.guard_ns(), 800'000);
}

}  // namespace
}  // namespace driftlock
