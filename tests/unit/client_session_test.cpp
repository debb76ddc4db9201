#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/unit/client_world.hpp"

namespace driftlock {
namespace {

using client::Completion;
using client::Event;
using client::EventKind;
using client::HolderState;
using client::LockName;
using client::Operation;
using client::OperationId;
using client::SessionCore;
using client::SessionOptions;
using client::Verdict;
using test::ClientWorld;

Operation acquire(const std::string& key, Nanoseconds wait_ns = 0) {
  Operation operation;
  operation.op = wire::Op::kAcquire;
  operation.name = LockName(1, key);
  operation.wait_ns = wait_ns;
  return operation;
}

Operation release(const std::string& key, std::uint64_t token) {
  Operation operation;
  operation.op = wire::Op::kRelease;
  operation.name = LockName(1, key);
  operation.token = token;
  return operation;
}

class ClientSession : public ::testing::Test {
 protected:
  SessionCore& open(SessionOptions options = {}) {
    SessionCore& core = world.add_client(options);
    core.open(world.now());
    EXPECT_TRUE(world.run(20 * kSecond, [&] { return core.is_open(); }));
    return core;
  }
  Completion finish(SessionCore& core, OperationId id, Nanoseconds within_ns = 30 * kSecond) {
    Completion completion;
    const bool finished = world.run(within_ns, [&] {
      while (core.next_completion(completion)) {
        if (completion.id == id) return true;
      }
      return false;
    });
    EXPECT_TRUE(finished);
    return completion;
  }
  Completion perform(SessionCore& core, const Operation& operation) {
    return finish(core, core.submit(operation, world.now()));
  }
  static std::vector<EventKind> events(SessionCore& core) {
    std::vector<EventKind> kinds;
    Event event;
    while (core.next_event(event)) kinds.push_back(event.kind);
    return kinds;
  }
  static bool has(const std::vector<EventKind>& kinds, EventKind kind) {
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  }

  ClientWorld world;
};

TEST_F(ClientSession, OpensAcquiresReleasesCloses) {
  SessionCore& core = open();
  EXPECT_EQ(events(core), std::vector{EventKind::kOpened});
  EXPECT_EQ(core.lease()->state(world.now().local_ns), HolderState::kSafe);
  const Completion granted = perform(core, acquire("a"));
  ASSERT_EQ(granted.reply.status, wire::Status::kOk);
  EXPECT_GT(granted.reply.token, 0U);
  EXPECT_EQ(perform(core, release("a", granted.reply.token + 1)).reply.status,
            wire::Status::kStaleToken);
  EXPECT_EQ(perform(core, release("a", granted.reply.token)).reply.status, wire::Status::kOk);
  core.close(world.now());
  EXPECT_TRUE(world.run(kSecond, [&] { return core.is_closed(); }));
  EXPECT_EQ(world.engine().sessions().active(), 0U);
}

TEST_F(ClientSession, RenewsForAsLongAsItLives) {
  SessionCore& core = open();
  const auto lease = core.lease();
  const Completion granted = perform(core, acquire("a"));
  world.run(60 * kSecond);
  EXPECT_EQ(lease->state(world.now().local_ns), HolderState::kSafe);
  EXPECT_EQ(perform(core, release("a", granted.reply.token)).reply.status, wire::Status::kOk);
  EXPECT_FALSE(has(events(core), EventKind::kJeopardy));
  EXPECT_LT(core.counters().sent, 60U);
}

TEST_F(ClientSession, SaysLostBeforeTheNodeGrantsToAnother) {
  SessionCore& first = open();
  SessionCore& second = open();
  const auto lease = first.lease();
  ASSERT_EQ(perform(first, acquire("a")).reply.status, wire::Status::kOk);
  events(first);
  world.stop(0, 20 * kSecond);
  const OperationId wanted = second.submit(acquire("a", 30 * kSecond), world.now());
  Completion completion;
  while (!second.next_completion(completion)) {
    ASSERT_NE(wanted, 0U);
    world.run(kMillisecond);
    const bool held = lease->state(world.now().local_ns) != HolderState::kLost;
    const bool others = world.engine().gauges().grants_pushed.read() > 0;
    ASSERT_FALSE(held && others);
  }
  EXPECT_EQ(completion.reply.status, wire::Status::kOk);
  world.run(20 * kSecond);
  const auto seen = events(first);
  EXPECT_TRUE(has(seen, EventKind::kPaused));
  EXPECT_TRUE(has(seen, EventKind::kLost));
  EXPECT_TRUE(has(seen, EventKind::kOpened));
  EXPECT_EQ(lease->state(world.now().local_ns), HolderState::kLost);
}

TEST_F(ClientSession, JeopardyComesBeforeLost) {
  SessionCore& core = open();
  events(core);
  world.node_up = false;
  EXPECT_TRUE(world.run(10 * kSecond, [&] { return core.counters().sessions_lost > 0; }));
  const auto seen = events(core);
  const auto jeopardy = std::find(seen.begin(), seen.end(), EventKind::kJeopardy);
  const auto lost = std::find(seen.begin(), seen.end(), EventKind::kLost);
  ASSERT_NE(lost, seen.end());
  EXPECT_LT(jeopardy - seen.begin(), lost - seen.begin());
  world.node_up = true;
  EXPECT_TRUE(world.run(10 * kSecond, [&] { return core.is_open(); }));
}

TEST_F(ClientSession, JeopardyPassesWhenTheNodeAnswersAgain) {
  SessionCore& core = open();
  const auto lease = core.lease();
  world.node_up = false;
  ASSERT_TRUE(world.run(
      10 * kSecond, [&] { return lease->state(world.now().local_ns) == HolderState::kJeopardy; }));
  world.node_up = true;
  world.run(2 * kSecond);
  EXPECT_EQ(lease->state(world.now().local_ns), HolderState::kSafe);
  const auto seen = events(core);
  EXPECT_TRUE(has(seen, EventKind::kSafe));
  EXPECT_FALSE(has(seen, EventKind::kLost));
}

TEST_F(ClientSession, WaitsForAPushedGrantAndSurvivesItsLoss) {
  SessionCore& first = open();
  SessionCore& second = open();
  const Completion held = perform(first, acquire("a"));
  const OperationId waiting = second.submit(acquire("a", 20 * kSecond), world.now());
  world.run(100 * kMillisecond);
  int pushes_dropped = 0;
  world.script = [&](bool to_node, std::vector<std::uint8_t>& bytes) {
    const bool push = !to_node && bytes[5] == static_cast<std::uint8_t>(wire::Kind::kPush);
    pushes_dropped += push;
    return !push;
  };
  EXPECT_EQ(perform(first, release("a", held.reply.token)).reply.status, wire::Status::kOk);
  const Completion granted = finish(second, waiting, 2 * kSecond);
  EXPECT_EQ(granted.reply.status, wire::Status::kOk);
  EXPECT_GT(granted.reply.token, held.reply.token);
  EXPECT_EQ(pushes_dropped, 1);
}

TEST_F(ClientSession, AWaitEndsAtItsDeadline) {
  SessionCore& first = open();
  SessionCore& second = open();
  perform(first, acquire("a"));
  const Completion late = perform(second, acquire("a", kSecond));
  EXPECT_EQ(late.verdict, Verdict::kAnswered);
  EXPECT_EQ(late.reply.status, wire::Status::kTimeout);
}

TEST_F(ClientSession, ACancelledWaitLeavesNothingBehind) {
  SessionCore& first = open();
  SessionCore& second = open();
  const Completion held = perform(first, acquire("a"));
  const OperationId waiting = second.submit(acquire("a", 20 * kSecond), world.now());
  world.run(10 * kMillisecond);
  second.cancel(waiting, world.now());
  EXPECT_EQ(finish(second, waiting).reply.status, wire::Status::kCancelled);
  EXPECT_EQ(perform(first, release("a", held.reply.token)).reply.status, wire::Status::kOk);
  world.run(10 * kMillisecond);
  EXPECT_EQ(world.engine().gauges().locks_in_use.read(), 0U);
}

TEST_F(ClientSession, ACancelThatCrossesTheGrantGivesItBack) {
  SessionCore& first = open();
  SessionCore& second = open();
  const Completion held = perform(first, acquire("a"));
  const OperationId waiting = second.submit(acquire("a", 20 * kSecond), world.now());
  world.run(10 * kMillisecond);
  first.submit(release("a", held.reply.token), world.now());
  second.cancel(waiting, world.now());
  EXPECT_EQ(finish(second, waiting).reply.status, wire::Status::kCancelled);
  world.run(kSecond);
  EXPECT_EQ(world.engine().gauges().locks_in_use.read(), 0U);
}

TEST_F(ClientSession, AnAcquireGivenUpIsNotLeftHeld) {
  SessionCore& core = open();
  world.script = [](bool to_node, std::vector<std::uint8_t>&) { return to_node; };
  Operation operation = acquire("a");
  operation.patience_ns = kSecond;
  EXPECT_EQ(perform(core, operation).verdict, Verdict::kUnreachable);
  EXPECT_EQ(world.engine().gauges().locks_in_use.read(), 1U);
  world.script = nullptr;
  world.run(2 * kSecond);
  EXPECT_EQ(world.engine().gauges().locks_in_use.read(), 0U);
}

TEST_F(ClientSession, ARestartedNodeGivesBackWhatIsReclaimed) {
  SessionCore& core = open();
  SessionCore& other = open();
  const Completion exclusive = perform(core, acquire("a"));
  const Completion again = perform(core, acquire("a"));  // re-entrant
  const Completion given_up = perform(core, acquire("b"));
  ASSERT_EQ(again.reply.token, exclusive.reply.token);
  events(core);
  world.node_up = false;
  const OperationId releasing = core.submit(release("b", given_up.reply.token), world.now());
  world.run(500 * kMillisecond);
  world.start_node(2, world.now().tai_ns + 5 * kSecond);
  world.node_up = true;
  const OperationId wanted = other.submit(acquire("a", 30 * kSecond), world.now());
  EXPECT_EQ(finish(core, releasing).verdict, Verdict::kSessionLost);
  ASSERT_TRUE(world.run(10 * kSecond, [&] { return core.epoch() == 2 && !core.is_reclaiming(); }));
  EXPECT_TRUE(has(events(core), EventKind::kReclaimed));
  EXPECT_EQ(core.counters().sessions_lost, 0U);
  EXPECT_EQ(core.locks_held(), 1U);
  world.run(20 * kSecond);
  EXPECT_EQ(exclusive.lock->state(world.now().local_ns), HolderState::kSafe);
  Completion completion;
  while (other.next_completion(completion)) EXPECT_EQ(completion.lock, nullptr);
  EXPECT_NE(wanted, 0U);
  // Taken twice, so released twice, though the node has counted one.
  EXPECT_EQ(perform(core, release("a", exclusive.reply.token)).reply.status, wire::Status::kOk);
  EXPECT_EQ(exclusive.lock->state(world.now().local_ns), HolderState::kSafe);
  EXPECT_EQ(perform(other, acquire("a")).reply.status, wire::Status::kBusy);
  EXPECT_EQ(perform(core, release("a", exclusive.reply.token)).reply.status, wire::Status::kOk);
  EXPECT_EQ(exclusive.lock->state(world.now().local_ns), HolderState::kLost);
  EXPECT_EQ(perform(other, acquire("a")).reply.status, wire::Status::kOk);
}

TEST_F(ClientSession, WhatCannotBeReclaimedIsRevokedAlone) {
  SessionCore& core = open();
  const Completion granted = perform(core, acquire("a"));
  events(core);
  world.start_node(2);  // it knows of no lease before
  ASSERT_TRUE(world.run(10 * kSecond, [&] { return core.epoch() == 2 && !core.is_reclaiming(); }));
  EXPECT_EQ(granted.lock->state(world.now().local_ns), HolderState::kLost);
  EXPECT_TRUE(has(events(core), EventKind::kRevoked));
  const Completion anew = perform(core, acquire("a"));
  EXPECT_EQ(anew.reply.status, wire::Status::kOk);
  EXPECT_EQ(anew.lock->state(world.now().local_ns), HolderState::kSafe);
}

TEST_F(ClientSession, ATakenOverLockIsLostAlone) {
  SessionCore& first = open();
  SessionCore& second = open();
  Operation operation = acquire("a");
  operation.name = LockName(test::kFenceNamespace, "a");
  const Completion fenced = perform(first, operation);
  const Completion kept = perform(first, acquire("b"));
  operation.take_over = true;
  const Completion taken = perform(second, operation);
  EXPECT_EQ(taken.reply.status, wire::Status::kOk);
  EXPECT_GT(taken.reply.token, fenced.reply.token);
  world.run(10 * kMillisecond);
  EXPECT_EQ(fenced.lock->state(world.now().local_ns), HolderState::kLost);
  EXPECT_EQ(kept.lock->state(world.now().local_ns), HolderState::kSafe);
}

TEST_F(ClientSession, AGroupIsAllOrNothing) {
  SessionCore& first = open();
  SessionCore& second = open();
  const Completion held = perform(first, acquire("key-5"));
  Operation group;
  group.op = wire::Op::kAcquireGroup;
  for (int i = 0; i < 16; ++i) {
    group.group.push_back({LockName(1, "key-" + std::to_string(i)), wire::Mode::kExclusive});
  }
  EXPECT_EQ(perform(second, group).reply.status, wire::Status::kBusy);
  group.wait_ns = 10 * kSecond;
  const OperationId waiting = second.submit(group, world.now());
  world.run(kSecond);
  perform(first, release("key-5", held.reply.token));
  const Completion granted = finish(second, waiting);
  ASSERT_EQ(granted.reply.status, wire::Status::kOk);
  ASSERT_EQ(granted.group.size(), 16U);
  for (int i = 0; i < 16; ++i) {
    const auto& member = granted.group[static_cast<std::size_t>(i)];
    EXPECT_EQ(perform(second, release("key-" + std::to_string(i), member.token)).reply.status,
              wire::Status::kOk);
  }
}

TEST_F(ClientSession, ConvertsAndKeepsTheLockUnderItsNewToken) {
  SessionCore& core = open();
  Operation shared = acquire("a");
  shared.mode = wire::Mode::kShared;
  const Completion read = perform(core, shared);
  Operation convert = release("a", read.reply.token);
  convert.op = wire::Op::kConvert;
  convert.mode = wire::Mode::kExclusive;
  const Completion written = perform(core, convert);
  ASSERT_EQ(written.reply.status, wire::Status::kOk);
  EXPECT_GT(written.reply.token, read.reply.token);
  EXPECT_EQ(written.lock, read.lock);
  EXPECT_EQ(perform(core, release("a", written.reply.token)).reply.status, wire::Status::kOk);
}

TEST_F(ClientSession, ForgedErrorsEndNoSession) {
  SessionCore& core = open();
  const auto lease = core.lease();
  wire::Header forged;
  forged.kind = wire::Kind::kError;
  forged.length = wire::kErrorBytes;
  forged.status = static_cast<std::uint8_t>(wire::Status::kNoSession);
  std::vector<std::uint8_t> bytes(wire::kErrorBytes);
  for (std::uint64_t i = 0; i < 100; ++i) {
    forged.nonce = i;
    wire::store(bytes.data(), forged);
    core.receive(bytes, world.now());
  }
  world.run(10 * kSecond);
  EXPECT_EQ(lease->state(world.now().local_ns), HolderState::kSafe);
  EXPECT_EQ(core.counters().rejected, 100U);
}

TEST_F(ClientSession, TamperedAnswersAreIgnored) {
  SessionCore& core = open();
  std::mt19937_64 random(3);
  world.script = [&](bool, std::vector<std::uint8_t>& bytes) {
    bytes[random() % bytes.size()] ^= 0x40;
    return true;
  };
  Operation operation = acquire("a");
  operation.patience_ns = kSecond;
  EXPECT_EQ(perform(core, operation).verdict, Verdict::kUnreachable);
}

TEST_F(ClientSession, ClockLostNodeRefusesUntilItKnowsTheTime) {
  world.node_clock().state = ClockState::kLost;
  SessionCore& core = world.add_client();
  core.open(world.now());
  EXPECT_FALSE(world.run(3 * kSecond, [&] { return core.is_open(); }));
  EXPECT_EQ(core.open_refusal(), wire::Status::kClockLost);
  world.node_clock().state = ClockState::kSync;
  EXPECT_TRUE(world.run(3 * kSecond, [&] { return core.is_open(); }));
}

TEST_F(ClientSession, ASynchronizedClockOfALiarIsOverruled) {
  world.client_error_ns = kMicrosecond;
  world.client_offset_ns = -100 * kSecond;  // it says the lease has long to go
  SessionCore& core = open();
  const Nanoseconds until = core.lease()->safe_until_ns();
  EXPECT_LE(until - world.now().local_ns, core.term_ns());
}

TEST_F(ClientSession, OffsetIsMeasured) {
  world.client_offset_ns = 3 * kMillisecond;
  SessionCore& core = open();
  perform(core, acquire("a"));
  EXPECT_NEAR(static_cast<double>(core.node_clock().offset_ns()), 3e6,
              static_cast<double>(core.node_clock().offset_error_ns()));
}

TEST_F(ClientSession, ASavedSessionGoesOn) {
  SessionOptions long_term;
  long_term.term_ns = 60 * kSecond;
  SessionCore& first = open(long_term);
  const Completion granted = perform(first, acquire("a"));
  const client::SavedSession saved = first.save();
  world.stop(0, 1000 * kSecond);
  world.run(20 * kSecond);
  SessionCore& second = world.add_client();
  second.resume(saved, world.now());
  EXPECT_EQ(perform(second, release("a", granted.reply.token)).reply.status, wire::Status::kOk);
}

TEST_F(ClientSession, PredictedReleaseIsLearntFromHolds) {
  SessionCore& core = open();
  Nanoseconds stated = 0;
  world.script = [&](bool to_node, std::vector<std::uint8_t>& bytes) {
    if (!to_node) return true;
    const auto request = wire::load<wire::Request>(wire::record(bytes.data(), 0));
    if (request.op == wire::Op::kAcquire) {
      stated =
          request.predicted_release_ns == 0 ? 0 : request.predicted_release_ns - world.now().tai_ns;
    }
    return true;
  };
  for (int i = 0; i < 3; ++i) {
    const Completion granted = perform(core, acquire("a"));
    if (i == 0) {
      EXPECT_EQ(stated, 0);
    }
    world.run(200 * kMillisecond);
    perform(core, release("a", granted.reply.token));
  }
  EXPECT_NEAR(static_cast<double>(stated), 200e6, 5e6);
}

// Loss, duplication and reordering at once: every operation is answered once, and what is granted
// is never granted twice.
TEST(ClientFaults, EveryOperationActsOnce) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    ClientWorld world(seed);
    world.faults = {0.1, 0.1, 100 * kMicrosecond, 30 * kMillisecond};
    std::vector<SessionCore*> cores;
    for (int i = 0; i < 3; ++i) {
      SessionOptions options;
      options.slots = 8;
      cores.push_back(&world.add_client(options));
      cores.back()->open(world.now());
    }
    ASSERT_TRUE(world.run(20 * kSecond, [&] {
      return std::all_of(cores.begin(), cores.end(), [](auto* core) { return core->is_open(); });
    })) << seed;
    std::map<std::string, std::size_t> held_by;
    std::map<std::pair<std::size_t, OperationId>, std::string> under_way;
    std::set<std::uint64_t> tokens;
    std::vector<int> rounds(cores.size(), 0);
    for (std::size_t i = 0; i < cores.size(); ++i) {
      const OperationId id = cores[i]->submit(acquire("k", 100 * kSecond), world.now());
      under_way[{i, id}] = "k";
    }
    const auto all_done = [&] {
      for (std::size_t i = 0; i < cores.size(); ++i) {
        Completion completion;
        while (cores[i]->next_completion(completion)) {
          EXPECT_EQ(completion.verdict, Verdict::kAnswered) << seed;
          EXPECT_EQ(completion.reply.status, wire::Status::kOk) << seed;
          EXPECT_EQ(under_way.erase({i, completion.id}), 1U) << seed;
          if (completion.op == wire::Op::kAcquire) {
            EXPECT_TRUE(held_by.emplace("k", i).second) << seed;
            EXPECT_TRUE(tokens.insert(completion.reply.token).second) << seed;
            held_by.erase("k");  // the release is sent now
            const OperationId id =
                cores[i]->submit(release("k", completion.reply.token), world.now());
            under_way[{i, id}] = "k";
          } else if (++rounds[i] < 20) {
            const OperationId id = cores[i]->submit(acquire("k", 100 * kSecond), world.now());
            under_way[{i, id}] = "k";
          }
        }
      }
      return under_way.empty();
    };
    EXPECT_TRUE(world.run(200 * kSecond, all_done)) << seed;
    EXPECT_EQ(tokens.size(), 60U) << seed;
    world.run(kSecond);
    EXPECT_EQ(world.engine().gauges().locks_in_use.read(), 0U) << seed;
  }
}

}  // namespace
}  // namespace driftlock
