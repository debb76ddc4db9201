// Engine: what the simulator found, each as short as it can be told. tests/sim/scenarios.txt has
// the runs that found them.
#include "engine_fixture.hpp"

namespace driftlock::test {
namespace {

class EngineFound : public EngineFixture {
 protected:
  Client open_with_lock_delay(Nanoseconds term_ns, std::uint32_t lock_delay_ms) {
    wire::OpenRequest request;
    request.client_nonce[0] = 50;
    request.slots = 4;
    request.term_ns = term_ns;
    request.lock_delay_ms = lock_delay_ms;
    request.cookie = open_raw(request).cookie;
    Client client;
    client.session = node_->sessions().find(open_raw(request).session_id);
    return client;
  }
  void allow_take_over() {
    EngineOptions options = small_options();
    options.namespaces = {{.id = 0, .fence = true}};
    restart(options);
  }
  Reply take_over(Client& client, const std::string& key, Mode mode = Mode::kExclusive) {
    Request request = acquire_request(client, key, 0, mode);
    request.flags = wire::kTakeOver;
    return send(client, request);
  }
  GroupReply share_group(Client& client, const std::vector<std::string>& keys, Nanoseconds wait_ns,
                         int slot = 0) {
    return send_group(client, group_request(client, keys.size(), wait_ns, slot), keys,
                      Mode::kShared);
  }
};

TEST_F(EngineFound, AGroupOfASessionInItsLockDelayEndsWhole) {
  Client a = open_with_lock_delay(kSecond, 3000);
  Client b = open(60 * kSecond);
  const Reply y = acquire(b, "y");
  EXPECT_EQ(acquire_group(a, {"x", "y"}, 30 * kSecond).reply.status, Status::kQueued);
  pass(1500 * kMillisecond);
  EXPECT_EQ(acquire(b, "x").status, Status::kOk);  // nothing was held, so there is nothing to delay
  EXPECT_EQ(release(b, "y", y.token).status, Status::kOk);
  pass(4 * kSecond);
  EXPECT_EQ(node_->locks().locks_in_use(), 1U);
}

TEST_F(EngineFound, TwoGroupsOfADeadSessionAtOneLockBothEnd) {
  Client a = open(kSecond);
  Client b = open(60 * kSecond);
  const Reply y = acquire(b, "y");
  EXPECT_EQ(acquire_group(a, {"x", "y"}, 30 * kSecond, 0).reply.status, Status::kQueued);
  EXPECT_EQ(acquire_group(a, {"y", "z"}, 30 * kSecond, 1).reply.status, Status::kQueued);
  pass(1500 * kMillisecond);
  EXPECT_EQ(release(b, "y", y.token).status, Status::kOk);
  EXPECT_EQ(node_->locks().locks_in_use(), 0U);
  EXPECT_EQ(acquire_group(b, {"x", "y", "z"}).reply.status, Status::kOk);
}

TEST_F(EngineFound, AnUpgradeEndsWithTheHoldThatItWasToUpgrade) {
  allow_take_over();
  Client a = open();
  Client b = open();
  Client c = open();
  const Reply first = acquire(a, "x", 0, Mode::kShared);
  acquire(c, "x", 0, Mode::kShared);
  EXPECT_EQ(convert(a, "x", first.token, Mode::kExclusive, kSecond, 1).status, Status::kQueued);
  const Reply taken = take_over(b, "x");
  EXPECT_EQ(taken.status, Status::kOk);
  std::vector<Status> told;
  for (Push push; node_->next_push(push);) told.push_back(push.reply.status);
  EXPECT_EQ(std::count(told.begin(), told.end(), Status::kRevoked), 2);
  EXPECT_EQ(std::count(told.begin(), told.end(), Status::kNotHeld), 1);
  const Reply newer = acquire(a, "x", kSecond, Mode::kShared);
  EXPECT_EQ(newer.status, Status::kQueued);
  release(b, "x", taken.token);
  EXPECT_EQ(query(a, "x").mode, Mode::kShared);
}

TEST_F(EngineFound, ATakeOverThatCannotBeGrantedEndsNobody) {
  allow_take_over();
  Client a = open();
  Client b = open();
  Client c = open();
  const Reply held = acquire(a, "x", 0, Mode::kShared);
  acquire(b, "y");
  EXPECT_EQ(share_group(c, {"x", "y"}, kSecond).reply.status, Status::kQueued);  // x is promised
  EXPECT_EQ(take_over(b, "x").status, Status::kBusy);
  EXPECT_TRUE(nothing_pushed());
  EXPECT_EQ(release(a, "x", held.token).status, Status::kOk);
}

// Seed 7300062: the cancel looked for the token from before the upgrade, and the lock stayed held.
TEST_F(EngineFound, ACancelFindsWhatAnUpgradeHasRenamed) {
  Client a = open();
  const Reply held = acquire(a, "x", 0, Mode::kShared, 0);
  EXPECT_EQ(acquire(a, "x", 0, Mode::kShared, 1).token, held.token);  // not received
  const Reply once = convert(a, "x", held.token, Mode::kExclusive, 0, 2);
  const Reply back = convert(a, "x", once.token, Mode::kShared, 0, 2);
  const Reply twice = convert(a, "x", back.token, Mode::kExclusive, 0, 2);
  EXPECT_GT(twice.token, once.token);
  EXPECT_EQ(cancel(a, 1, a.sequences[1], 3).status, Status::kOk);
  EXPECT_EQ(release(a, "x", twice.token).status, Status::kOk);
  EXPECT_EQ(query(a, "x").holders, 0U);
}

TEST_F(EngineFound, ACancelOfAGroupFindsWhatAnUpgradeHasRenamed) {
  Client a = open();
  EXPECT_EQ(share_group(a, {"x", "y"}, 0, 0).reply.status, Status::kOk);  // not received
  const Reply again = acquire(a, "x", 0, Mode::kShared, 1);
  const Reply upgraded = convert(a, "x", again.token, Mode::kExclusive, 0, 2);
  EXPECT_EQ(upgraded.status, Status::kOk);
  EXPECT_EQ(cancel(a, 0, a.sequences[0], 3).status, Status::kOk);
  EXPECT_EQ(release(a, "x", upgraded.token, 1).status, Status::kOk);
  EXPECT_EQ(node_->locks().locks_in_use(), 0U);
}

}  // namespace
}  // namespace driftlock::test
