#include <gtest/gtest.h>

#include <string>

#include "src/predict/adaptive_liveness.hpp"
#include "src/predict/liveness.hpp"

namespace driftlock {
namespace {

constexpr Nanoseconds kPeriod = 100 * kMillisecond;

Nanoseconds feed(FailureDetector& detector, int count) {
  Nanoseconds now = kSecond;
  for (int i = 0; i < count; ++i) {
    now += kPeriod + (i % 2 == 0 ? 5 : -5) * kMillisecond;
    detector.arrived(now);
  }
  return now;
}

TEST(Liveness, EachDetectorWaitsLongerWithItsParameter) {
  for (const DetectorKind& kind : detector_kinds()) {
    Nanoseconds before = kLongAgo;
    for (const double parameter : kind.sweep) {
      const auto detector = make_detector(kind.name, parameter);
      ASSERT_NE(detector, nullptr);
      EXPECT_EQ(detector->suspect_at(), kNever) << kind.name;
      const Nanoseconds last = feed(*detector, 200);
      const Nanoseconds deadline = detector->suspect_at();
      EXPECT_GT(deadline, last) << kind.name;
      EXPECT_LT(deadline, last + 3 * kSecond) << kind.name;
      EXPECT_GE(deadline, before) << kind.name;
      before = deadline;
    }
  }
  EXPECT_EQ(make_detector("oracle", 1.0), nullptr);
}

TEST(AdaptiveLiveness, ExpectsTheUsualGapAndKeepsItsFloor) {
  AdaptiveLiveness liveness(5 * kMillisecond);
  Nanoseconds now = kSecond;
  for (int i = 0; i < 100; ++i) liveness.arrived(now += kPeriod);
  EXPECT_GE(liveness.suspect_at(1e-3), now + kPeriod + 4 * kMillisecond);
  EXPECT_LE(liveness.suspect_at(1e-3), now + kPeriod + 7 * kMillisecond);
}

TEST(AdaptiveLiveness, LossesTeachThatMoreMayFollow) {
  AdaptiveLiveness lossless;
  AdaptiveLiveness lossy;
  Nanoseconds now = kSecond;
  for (int i = 0; i < 2000; ++i) {
    now += kPeriod;
    lossless.arrived(now);
    if (i % 20 != 10) lossy.arrived(now);
  }
  EXPECT_LT(lossless.suspect_at(1e-3), now + kPeriod + kPeriod / 2);
  EXPECT_GT(lossy.suspect_at(1e-3), now + 2 * kPeriod);
  EXPECT_LT(lossy.suspect_at(1e-3), now + 4 * kPeriod);
  EXPECT_LT(lossy.suspect_at(0.2), now + kPeriod + kPeriod / 2) << "a gap that is explained";
  EXPECT_NEAR(lossy.loss(), 0.05, 0.02);
}

TEST(AdaptiveLiveness, FollowsAnotherPaceWithinAFewHeartbeats) {
  AdaptiveLiveness liveness;
  Nanoseconds now = kSecond;
  for (int i = 0; i < 1000; ++i) liveness.arrived(now += kPeriod);
  for (int i = 0; i < 12; ++i) liveness.arrived(now += 4 * kPeriod);
  EXPECT_GT(liveness.suspect_at(1e-2), now + 4 * kPeriod);
  EXPECT_LT(liveness.suspect_at(1e-2), now + 10 * kPeriod);
}

TEST(AdaptiveLiveness, RequestsOfOneInstantAreOneHeartbeat) {
  AdaptiveLiveness liveness;
  Nanoseconds now = kSecond;
  for (int i = 0; i < 100; ++i) {
    now += kPeriod;
    for (int k = 0; k < 5; ++k) liveness.arrived(now);
  }
  EXPECT_EQ(liveness.gaps(), 99U);
}

}  // namespace
}  // namespace driftlock
