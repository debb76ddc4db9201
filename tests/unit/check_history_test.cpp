// The linearizability check: what it must accept, and what it must not.
#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "tools/check/linearizability.hpp"
#include "tools/check/lock_model.hpp"

namespace driftlock::check {
namespace {

constexpr std::uint32_t kShared = 1;

// Operations told one after another; times are as short as the cases.
class Told {
 public:
  std::uint64_t call(Nanoseconds at_ns, HistoryOp op, std::uint32_t client,
                     std::uint32_t permits = kAllPermits, std::uint64_t token = 0,
                     std::uint32_t size = kAllPermits, bool take_over = false) {
    HistoryOperation operation;
    operation.op = op;
    operation.client = client;
    operation.permits = permits;
    operation.size = size;
    operation.token = token;
    operation.take_over = take_over;
    operation.called_ns = at_ns;
    return history.invoke("k", operation);
  }
  void acquired(Nanoseconds from_ns, Nanoseconds to_ns, std::uint32_t client, std::uint64_t token,
                std::uint32_t permits = kAllPermits, std::uint32_t size = kAllPermits) {
    history.complete(to_ns, call(from_ns, HistoryOp::kAcquire, client, permits, 0, size), "ok",
                     token);
    history.held(to_ns, client, "k", token);
  }
  void released(Nanoseconds from_ns, Nanoseconds to_ns, std::uint32_t client, std::uint64_t token,
                const char* result = "ok", std::uint32_t size = kAllPermits) {
    history.held(from_ns, client, "k", token);
    history.complete(to_ns, call(from_ns, HistoryOp::kRelease, client, 1, token, size), result, 0);
  }
  [[nodiscard]] Judgement judge() const { return check_history(history).judgement; }
  [[nodiscard]] bool good() const { return judge() == Judgement::kLinearizable; }

  History history;
};

TEST(Linearizability, OneAfterAnother) {
  Told told;
  told.acquired(0, 10, 1, 5);
  told.released(20, 30, 1, 5);
  told.acquired(40, 50, 2, 6);
  told.released(60, 70, 2, 6);
  EXPECT_TRUE(told.good());
}

TEST(Linearizability, TwoExclusiveHoldersAtOnceAreNone) {
  Told told;
  told.acquired(0, 10, 1, 5);
  told.acquired(12, 18, 2, 6);
  told.released(20, 30, 1, 5);
  told.released(40, 50, 2, 6);
  EXPECT_EQ(told.judge(), Judgement::kViolated);
}

TEST(Linearizability, TheReleaseMayTakeEffectBeforeItIsAnswered) {
  Told told;
  told.acquired(0, 10, 1, 5);
  told.acquired(12, 28, 2, 6);  // granted by the release that is under way
  told.released(20, 60, 1, 5);
  told.released(40, 50, 2, 6);
  EXPECT_TRUE(told.good());
}

TEST(Linearizability, TokensRise) {
  Told told;
  told.acquired(0, 10, 1, 6);
  told.released(20, 30, 1, 6);
  told.acquired(40, 50, 2, 5);
  EXPECT_EQ(told.judge(), Judgement::kViolated);
}

TEST(Linearizability, AHoldLastsAsLongAsItsHolderBelieves) {
  for (const Nanoseconds answered_ns : {45, 60}) {
    Told told;
    told.acquired(0, 10, 1, 5);
    told.history.held(50, 1, "k", 5);  // then its lease ran out
    told.acquired(40, answered_ns, 2, 6);
    EXPECT_EQ(told.good(), answered_ns == 60);
  }
}

TEST(Linearizability, AReleaseActsOnce) {
  Told told;
  told.acquired(0, 10, 1, 5);
  told.released(20, 30, 1, 5);
  told.released(40, 50, 1, 5);
  EXPECT_EQ(told.judge(), Judgement::kViolated);
}

TEST(Linearizability, NotHeldIsWrongWhereItIsHeld) {
  Told told;
  told.acquired(0, 10, 1, 5);
  told.history.held(20, 1, "k", 5);
  told.history.complete(19, told.call(12, HistoryOp::kRelease, 1, 1, 5), "not_held", 0);
  EXPECT_EQ(told.judge(), Judgement::kViolated);
}

TEST(Linearizability, BusyNeedsAReason) {
  Told told;
  told.history.complete(20, told.call(10, HistoryOp::kAcquire, 1), "busy", 0);
  EXPECT_EQ(told.judge(), Judgement::kViolated);
  told.call(5, HistoryOp::kAcquire, 2);  // unanswered: it may have got the lock
  EXPECT_TRUE(told.good());
}

TEST(Linearizability, ReentryHasTheSameTokenAndIsReleasedAsOften) {
  Told told;
  told.acquired(0, 10, 1, 5);
  told.acquired(12, 14, 1, 5);
  told.released(20, 30, 1, 5);
  told.released(40, 50, 1, 5);
  EXPECT_TRUE(told.good());
  Told other;
  other.acquired(0, 10, 1, 5);
  other.acquired(12, 14, 1, 5);
  other.released(20, 30, 1, 5);
  other.acquired(32, 38, 2, 6);
  other.released(40, 50, 1, 5);
  EXPECT_EQ(other.judge(), Judgement::kViolated);
}

TEST(Linearizability, ReadersShareAndAnUpgradeWaitsForThem) {
  for (const Nanoseconds upgraded_ns : {28, 60}) {
    Told told;
    told.acquired(0, 10, 1, 5, kShared);
    told.acquired(2, 12, 2, 6, kShared);
    const std::uint64_t upgrade = told.call(20, HistoryOp::kConvert, 1, kAllPermits, 5);
    told.history.complete(upgraded_ns, upgrade, "ok", 7);
    told.released(30, 40, 2, 6);
    told.history.held(70, 1, "k", 7);
    EXPECT_EQ(told.good(), upgraded_ns == 60);
  }
}

TEST(Linearizability, ASemaphoreHasItsPermits) {
  Told told;
  told.acquired(0, 10, 1, 5, 1, 2);
  told.acquired(12, 14, 1, 6, 1, 2);
  EXPECT_TRUE(told.good());
  told.released(30, 40, 1, 5, "ok", 2);
  told.released(42, 44, 1, 6, "ok", 2);
  told.acquired(16, 18, 2, 7, 1, 2);
  EXPECT_EQ(told.judge(), Judgement::kViolated);
}

TEST(Linearizability, WhoTakesOverNeedNotWaitForTheHolder) {
  for (const bool take_over : {false, true}) {
    Told told;
    told.acquired(0, 10, 1, 5);
    const std::uint64_t taken =
        told.call(20, HistoryOp::kAcquire, 2, kAllPermits, 0, kAllPermits, take_over);
    told.history.complete(30, taken, "ok", 6);
    told.history.held(35, 2, "k", 6);
    told.history.held(40, 1, "k", 5);  // not told yet
    EXPECT_EQ(told.good(), take_over);
  }
}

// A cancel that came after the grant gives back what was granted, not what it had ended.
TEST(Linearizability, ATakeOverThatIsCancelledMayHaveEndedTheHolders) {
  for (const char* result : {"cancelled", "timeout", "mode_conflict"}) {
    Told told;
    told.acquired(0, 10, 1, 5);
    told.history.held(80, 1, "k", 5);  // not told yet
    const std::uint64_t taken =
        told.call(20, HistoryOp::kAcquire, 2, kAllPermits, 0, kAllPermits, true);
    told.history.complete(30, taken, result, 0);
    told.acquired(40, 50, 3, 7);
    EXPECT_EQ(told.good(), std::string(result) == "cancelled") << result;
  }
}

// Its session of now is told that it does not hold what its session before still has.
TEST(Linearizability, WhatASessionBeforeHeldMayStayTaken) {
  Told told;
  told.acquired(0, 10, 1, 5);
  told.released(20, 30, 1, 5, "not_held");
  told.history.complete(50, told.call(40, HistoryOp::kAcquire, 1), "busy", 0);
  EXPECT_TRUE(told.good());
  Told other;
  other.acquired(0, 10, 1, 5);
  other.released(20, 30, 1, 5);
  other.history.complete(50, other.call(40, HistoryOp::kAcquire, 1), "busy", 0);
  EXPECT_EQ(other.judge(), Judgement::kViolated);
}

// A group that has one of its locks waits for the others: its client's other threads find it taken.
TEST(Linearizability, WhatIsPromisedToAGroupIsBusyToItsOwnClient) {
  for (const bool group : {false, true}) {
    Told told;
    HistoryOperation first;
    first.client = 1;
    first.group = group;
    const std::uint64_t waits = told.history.invoke("k", first);
    told.acquired(5, 8, 2, 6, kShared);  // behind it
    told.released(10, 12, 2, 6);
    told.history.complete(30, told.call(20, HistoryOp::kAcquire, 1, kShared), "busy", 0);
    told.history.complete(40, waits, "ok", 5);
    told.history.held(45, 1, "k", 5);
    EXPECT_EQ(told.good(), group);
  }
}

TEST(Linearizability, AFileSaysTheSame) {
  Told told;
  told.acquired(0, 10, 1, 5, 2, 3);
  told.released(20, 30, 1, 5, "ok", 3);
  const std::string file = testing::TempDir() + "/history.jsonl";
  ASSERT_TRUE(told.history.write(file));
  const auto read = History::read(file);
  std::remove(file.c_str());
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(check_history(read.value()).operations, 2U);
  EXPECT_EQ(check_history(read.value()).judgement, Judgement::kLinearizable);
}

TEST(Linearizability, ALineThatIsNoneIsRefused) {
  History history;
  EXPECT_NE(history.add_line("{"), "");
  EXPECT_NE(history.add_line(R"({"event":"guess"})"), "");
  EXPECT_NE(history.add_line(R"({"event":"complete","id":1,"time_ns":1,"result":"ok"})"), "");
  EXPECT_NE(history.add_line(
                R"({"event":"invoke","id":1,"time_ns":1,"client":1,"op":"steal","key":"k"})"),
            "");
}

// Histories made from an order: a lock that serves one request after another, each at an instant
// somewhere between its call and its answer. Then two of its tokens are exchanged.
TEST(Linearizability, FindsTheOrderOfMadeUpHistoriesAndNoOrderOfSpoiltOnes) {
  std::mt19937_64 random(1);
  const auto below = [&](std::uint64_t n) { return static_cast<Nanoseconds>(random() % n); };
  std::uint32_t rejected = 0;
  constexpr std::uint32_t kHistories = 100;
  for (std::uint32_t run = 0; run < kHistories; ++run) {
    struct Made {
      std::uint32_t client;
      Nanoseconds acquire_ns;
      Nanoseconds release_ns;
    };
    std::vector<Made> made;
    Nanoseconds now_ns = 1000;
    for (std::uint32_t i = 0; i < 60; ++i) {
      const Nanoseconds release_ns = now_ns + 10 + below(100);
      made.push_back({i % 8, now_ns, release_ns});
      now_ns = release_ns + 1 + below(20);
    }
    for (const bool spoilt : {false, true}) {
      Told told;
      const std::uint64_t swapped = 10 + random() % 40;
      for (std::uint64_t i = 0; i < made.size(); ++i) {
        std::uint64_t token = 100 + i;
        if (spoilt && i == swapped) token = 101 + i;
        if (spoilt && i == swapped + 1) token = 99 + i;
        const Made& each = made[i];
        told.acquired(each.acquire_ns - below(300), each.acquire_ns + below(5), each.client, token);
        told.released(each.release_ns - below(3), each.release_ns + below(200), each.client, token);
      }
      if (!spoilt) {
        ASSERT_TRUE(told.good()) << check_history(told.history).why;
      } else {
        rejected += told.good() ? 0 : 1;
      }
    }
  }
  EXPECT_EQ(rejected, kHistories);
}

// Their sums are the same, and the search took the one state for the other (seed 100454).
TEST(Linearizability, TheNextTokenOfTheClientBeforeIsAnotherState) {
  const LockState first{.holders = {{332, 1, kAllPermits, 1}}, .newest_token = 333};
  const LockState second{.holders = {{333, 0, kAllPermits, 1}}, .newest_token = 333};
  EXPECT_NE(LockModel::hash(first), LockModel::hash(second));
}

}  // namespace
}  // namespace driftlock::check
