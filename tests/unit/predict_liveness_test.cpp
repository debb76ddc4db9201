#include <gtest/gtest.h>

#include <string>

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

TEST(Liveness, OursExpectsTheUsualGapAndKeepsItsFloor) {
  const auto detector = make_detector("ours", 6.0);
  Nanoseconds now = kSecond;
  for (int i = 0; i < 100; ++i) detector->arrived(now += kPeriod);
  EXPECT_GE(detector->suspect_at(), now + kPeriod + 5 * kMillisecond);
  EXPECT_LE(detector->suspect_at(), now + kPeriod + 6 * kMillisecond);
}

}  // namespace
}  // namespace driftlock
