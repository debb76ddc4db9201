// What the client library is made of beside its sessions: the node's time, fences, hold times.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "src/client/fence.hpp"
#include "src/client/hold_times.hpp"
#include "src/client/node_clock.hpp"

namespace driftlock {
namespace {

TEST(NodeTime, BoundsHoldTheTruthUnderDriftAndDelay) {
  std::mt19937_64 random(1);
  for (int run = 0; run < 100; ++run) {
    const double rate = 1.0 + 1e-3 * (static_cast<double>(random() % 2001) / 1000.0 - 1.0) * 0.99;
    client::NodeClock clock(1e-3);
    Nanoseconds truth = kSecond;
    const auto local = [&](Nanoseconds at) {
      return static_cast<Nanoseconds>(static_cast<double>(at) * rate);
    };
    for (int i = 0; i < 50; ++i) {
      client::Exchange exchange;
      exchange.sent_local_ns = local(truth);
      truth += static_cast<Nanoseconds>(random() % (5 * kMillisecond));
      const auto error = static_cast<Nanoseconds>(random() % kMillisecond);
      exchange.node_error_ns = kMillisecond;
      exchange.node_ns = truth + error - kMillisecond / 2;
      exchange.residence_ns = 1000;
      truth += 1000 + static_cast<Nanoseconds>(random() % (5 * kMillisecond));
      exchange.received_local_ns = local(truth);
      EXPECT_TRUE(clock.add(exchange));
      truth += static_cast<Nanoseconds>(random() % kSecond);
      ASSERT_TRUE(clock.at(local(truth)).contains(truth));
      const Nanoseconds until = clock.local_when_latest_reaches(truth + kSecond);
      ASSERT_LE(until, local(truth + kSecond));
    }
  }
}

TEST(FenceGate, RefusesWhatIsOlderThanItHasSeen) {
  FenceGate gate(5);
  EXPECT_FALSE(gate.admit(4));
  EXPECT_TRUE(gate.admit(5));
  EXPECT_TRUE(gate.admit(9));
  EXPECT_TRUE(gate.admit(9));
  EXPECT_FALSE(gate.admit(8));
  EXPECT_EQ(gate.seen(), 9U);
}

TEST(HoldTimes, PredictsAHighQuantileAndStaysBounded) {
  client::HoldTimes holds;
  EXPECT_EQ(holds.predict("a"), 0);
  for (Nanoseconds i = 1; i <= 10; ++i) holds.record("a", i * 100);
  EXPECT_EQ(holds.predict("a"), 900);
  for (int i = 0; i < 5000; ++i) holds.record("key" + std::to_string(i), 1);
  EXPECT_EQ(holds.size(), client::HoldTimes::kLocksMax);
  EXPECT_EQ(holds.predict("a"), 0);
}

}  // namespace
}  // namespace driftlock
