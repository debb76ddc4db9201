#include <gtest/gtest.h>

#include "src/clock/clock_model.hpp"
#include "src/clock/discipline.hpp"
#include "src/clock/simulated_source.hpp"

namespace driftlock {
namespace {

constexpr Nanoseconds kStart = 1'700'000'000 * kSecond;

// A node's clock thread with a simulated source, one step a second unless told otherwise.
struct Node {
  explicit Node(const SimulatedOscillator& oscillator = {0.4, 20'000.0, 0.0, 1.0, 0.0},
                ClockModelOptions options = {})
      : source(oscillator, kStart, 7),
        discipline(with_tick(options, oscillator), source, published) {
    source.faults().noise_ns = 100;
    source.faults().sandwich_ns = 200;
    source.faults().max_error_ns = 1'000;
  }
  static ClockModelOptions with_tick(ClockModelOptions options, const SimulatedOscillator& o) {
    options.ns_per_tick = o.ns_per_tick;
    return options;
  }
  void run(int steps, Nanoseconds span = kSecond) {
    for (int i = 0; i < steps; ++i) {
      source.advance(span);
      discipline.step(source.ticks());
      check();
    }
  }
  void check() {
    const ClockReading now = read();
    if (now.state == ClockState::kLost) return;
    violations += now.tai.contains(source.true_tai_ns()) ? 0 : 1;
  }
  [[nodiscard]] ClockReading read() const { return read_clock(published.load(), source.ticks()); }
  [[nodiscard]] ClockStatus status() const { return discipline.model().status(); }

  SimulatedSource source;
  Seqlock<ClockSnapshot> published;
  ClockDiscipline discipline;
  int violations = 0;
};

TEST(ClockModel, IsLostBeforeTheFirstSample) {
  Node node;
  EXPECT_EQ(node.read().state, ClockState::kLost);
  node.source.faults().unreadable = true;
  node.run(3);
  EXPECT_EQ(node.read().state, ClockState::kLost);
  EXPECT_EQ(node.status().missed, 3U);
  EXPECT_NE(node.discipline.reason(), "");
}

TEST(ClockModel, FollowsASourceAndLearnsTheRate) {
  Node node;
  node.run(600);
  EXPECT_EQ(node.read().state, ClockState::kSync);
  EXPECT_EQ(node.violations, 0);
  EXPECT_NEAR(node.status().frequency_ppb, -20'000.0, 20.0);
  EXPECT_LT(std::abs(node.read().estimate_ns - node.source.true_tai_ns()), 200);
  EXPECT_LT(node.read().tai.half_width(), 1'500);
  EXPECT_GT(node.status().accepted, 590U);
}

TEST(ClockModel, ColdStartIsWideFromTheSecondSample) {
  Node node;
  node.run(2);
  const ClockReading now = node.read();
  EXPECT_EQ(node.violations, 0);
  EXPECT_GE(now.sigma_ns, 100);
  // Nothing is known of the frequency yet: a second ahead the doubt is of its order.
  EXPECT_GT(std::sqrt(node.discipline.model().forecast(1.0).variance_at(1.0)), 500.0);
  EXPECT_GE(now.tai.half_width(), 1'000);
}

TEST(ClockModel, HoldoverGrowsIsLostAndRecovers) {
  ClockModelOptions options;
  options.lost_half_width_ns = 5 * kMillisecond;
  Node node({0.4, 20'000.0, 0.0, 1.0, 0.0}, options);
  node.run(100);
  node.source.faults().unreadable = true;
  node.run(3);
  EXPECT_EQ(node.read().state, ClockState::kSync);
  node.run(7);
  EXPECT_EQ(node.read().state, ClockState::kHoldover);
  const Nanoseconds width = node.read().tai.half_width();
  node.run(10);
  EXPECT_GT(node.read().tai.half_width(), width + 10 * 40'000);
  node.run(200);
  EXPECT_EQ(node.read().state, ClockState::kLost);
  node.source.faults().unreadable = false;
  node.run(1);
  EXPECT_EQ(node.read().state, ClockState::kSync);
  EXPECT_EQ(node.violations, 0);
}

TEST(ClockModel, ReadersNoticeADeadClockThreadByAge) {
  Node node;
  node.run(100);
  const ClockSnapshot last = node.published.load();
  node.source.advance(20 * kSecond);
  const ClockReading late = read_clock(last, node.source.ticks());
  EXPECT_EQ(late.state, ClockState::kHoldover);
  EXPECT_TRUE(late.tai.contains(node.source.true_tai_ns()));
  node.source.advance(20'000 * kSecond);
  EXPECT_EQ(read_clock(last, node.source.ticks()).state, ClockState::kLost);
}

TEST(ClockModel, ReadsAStampFromBeforeTheAnchor) {
  Node node;
  node.run(100);
  const std::uint64_t ticks = node.source.ticks();
  const Nanoseconds tai = node.source.true_tai_ns();
  node.run(1);
  EXPECT_TRUE(read_clock(node.published.load(), ticks).tai.contains(tai));
}

TEST(ClockModel, WidensAtTheFirstSuspiciousSampleAndForgetsAnOutlier) {
  Node node;
  node.run(200);
  const ClockReading before = node.read();
  node.source.faults().offset_ns = 50'000;
  node.run(1);
  const ClockReading doubtful = node.read();
  EXPECT_EQ(doubtful.state, ClockState::kSuspect);
  EXPECT_GT(doubtful.tai.half_width(), 20'000);
  EXPECT_TRUE(doubtful.tai.contains(node.source.true_tai_ns() + 50'000));
  EXPECT_GT(doubtful.sigma_ns, 40'000);
  // Source and truth disagree: the estimate stays with what was known.
  EXPECT_LT(std::abs(doubtful.estimate_ns - node.source.true_tai_ns()), 300);
  node.source.faults().offset_ns = 0;
  node.run(1);
  EXPECT_EQ(node.read().state, ClockState::kSync);
  EXPECT_LT(node.read().tai.half_width(), before.tai.half_width() + 1'000);
  EXPECT_EQ(node.violations, 0);
}

TEST(ClockModel, ABadLastSampleDoesNotEnterHoldover) {
  Node node;
  node.run(200);
  node.source.faults().offset_ns = 50'000;
  node.run(1);
  node.source.faults().unreadable = true;
  node.run(20);
  EXPECT_LT(std::abs(node.read().estimate_ns - node.source.true_tai_ns()), 3'000);
  EXPECT_EQ(node.violations, 0);
}

TEST(ClockModel, AcceptsAPersistentStepAndCountsIt) {
  Node node;
  node.run(200);
  node.source.faults().offset_ns = 3 * kMillisecond;
  node.run(7);
  EXPECT_EQ(node.read().state, ClockState::kSuspect);
  EXPECT_EQ(node.violations, 0);  // the bound holds both the old and the new time
  node.run(30);
  EXPECT_EQ(node.read().state, ClockState::kSync);
  EXPECT_EQ(node.status().steps, 1U);
  EXPECT_LT(std::abs(node.read().estimate_ns - node.source.true_tai_ns() - 3 * kMillisecond), 500);
}

TEST(ClockModel, AnUnsynchronizedSourceIsNoSource) {
  Node node;
  node.run(100);
  node.source.faults().unsynchronized = true;
  node.run(10);
  EXPECT_EQ(node.read().state, ClockState::kHoldover);
  EXPECT_NE(node.discipline.reason(), "");
}

TEST(ClockModel, KnownSteeringIsAnInput) {
  Node node({1.0, 0.0, 0.0, 0.0, 0.0});
  node.run(300);
  // From here the servo speeds the source up by 1 ppm: the source gains 1 us a second.
  node.source.faults().steering_ppb = 1'000.0;
  node.source.faults().offset_ns = 500;
  node.run(1);
  EXPECT_NEAR(node.status().frequency_ppb, 1'000.0, 100.0);
}

TEST(ClockModel, ABoundBeyondTheLimitIsLostAndSaysWhy) {
  Node node;
  node.source.faults().max_error_ns = 2 * kSecond;
  node.run(5);
  EXPECT_EQ(node.read().state, ClockState::kLost);
  EXPECT_NE(node.discipline.reason(), "");
}

TEST(HardBound, LearnsTheRateAndHoldsOnlyToIt) {
  HardBound bound({1.0, 500e-6, 1e-6});
  for (std::uint64_t s = 0; s <= 1000; ++s) {
    // The oscillator runs 100 ppm slow: 1 s of ticks is 1.0001 s of TAI.
    const auto tai = static_cast<Nanoseconds>(s * 1'000'100'000);
    const Interval sample = Interval::around(tai, 1'000);
    ASSERT_TRUE(bound.agrees(s * 1'000'000'000, sample));
    bound.narrow(s * 1'000'000'000, sample);
  }
  EXPECT_NEAR(bound.min_rate(), 1.0 + 99e-6, 5e-9);
  EXPECT_NEAR(bound.max_rate(), 1.0 + 101e-6, 5e-9);
  EXPECT_FALSE(bound.agrees(1'000'000'000'000, Interval::around(0, 1'000)));
}

}  // namespace
}  // namespace driftlock
