#include <gtest/gtest.h>

#include <thread>

#include "src/base/histogram.hpp"
#include "src/base/result.hpp"
#include "src/base/seqlock.hpp"
#include "src/base/spsc_ring.hpp"
#include "src/base/time.hpp"

namespace driftlock {
namespace {

TEST(Interval, OrdersOnlyWhatCannotOverlap) {
  const Interval a{10, 20};
  EXPECT_TRUE(a.before({21, 30}));
  EXPECT_FALSE(a.before({20, 30}));
  EXPECT_TRUE(a.overlaps({20, 30}));
  EXPECT_TRUE(a.contains(10));
  EXPECT_TRUE(a.contains(20));
  EXPECT_FALSE(a.contains(21));
}

TEST(Interval, MiddleAndHalfWidthHoldAtTheEndsOfTheRange) {
  const Interval all{kLongAgo, kNever};
  EXPECT_EQ(all.middle(), -1);
  EXPECT_EQ(all.half_width(), kNever);  // 2^63 does not fit
  EXPECT_EQ((Interval{10, 21}.half_width()), 6);
  EXPECT_EQ(Interval::around(kNever - 1, 5).latest, kNever);
}

TEST(Result, CarriesValueOrError) {
  Result<int> good = 3;
  Result<int> bad = Error{"no such device"};
  EXPECT_EQ(*good, 3);
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().message, "no such device");
  EXPECT_DEATH(static_cast<void>(bad.value()), "invariant broken");
}

TEST(SpscRing, RefusesWhenFullAndKeepsOrder) {
  SpscRing<int> ring(4);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(ring.push(i));
  EXPECT_FALSE(ring.push(4));
  int value = -1;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(ring.pop(value));
    EXPECT_EQ(value, i);
  }
  EXPECT_FALSE(ring.pop(value));
}

TEST(SpscRing, PassesEveryItemBetweenTwoThreads) {
  SpscRing<std::uint64_t> ring(64);
  constexpr std::uint64_t kItems = 200'000;
  std::thread producer([&] {
    for (std::uint64_t i = 1; i <= kItems; ++i) {
      while (!ring.push(i)) std::this_thread::yield();
    }
  });
  for (std::uint64_t expected = 1; expected <= kItems; ++expected) {
    std::uint64_t value = 0;
    while (!ring.pop(value)) std::this_thread::yield();
    ASSERT_EQ(value, expected);
  }
  producer.join();
}

TEST(Seqlock, ReadersNeverSeeHalfAWrite) {
  struct Value {
    std::uint64_t words[5] = {};
  };
  Seqlock<Value> seqlock;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (std::uint64_t i = 1; !stop.load(std::memory_order_relaxed); ++i) {
      seqlock.store({{i, i, i, i, i}});
    }
  });
  for (int i = 0; i < 100'000; ++i) {
    const Value value = seqlock.load();
    for (const std::uint64_t word : value.words) ASSERT_EQ(word, value.words[0]);
  }
  stop = true;
  writer.join();
}

TEST(LatencyHistogram, PutsEachDurationUnderItsBound) {
  EXPECT_EQ(LatencyHistogram::bucket_of(0), 0);
  EXPECT_EQ(LatencyHistogram::bucket_of(128), 0);
  EXPECT_EQ(LatencyHistogram::bucket_of(129), 1);
  EXPECT_EQ(LatencyHistogram::bucket_of(LatencyHistogram::bound_ns(23)), 23);
  EXPECT_EQ(LatencyHistogram::bucket_of(LatencyHistogram::bound_ns(23) + 1),
            LatencyHistogram::kBuckets);
}

}  // namespace
}  // namespace driftlock
