#include "engine_fixture.hpp"

namespace driftlock::test {
namespace {

using EngineModes = EngineFixture;

TEST_F(EngineModes, DowngradeLetsReadersIn) {
  Client a = open();
  Client b = open();
  const Reply held = acquire(a, "x");
  EXPECT_EQ(acquire(b, "x", kSecond, Mode::kShared).status, Status::kQueued);
  const Reply shared = convert(a, "x", held.token, Mode::kShared);
  EXPECT_EQ(shared.status, Status::kOk);
  EXPECT_EQ(shared.token, held.token);
  EXPECT_EQ(pushed().status, Status::kOk);
  EXPECT_EQ(query(a, "x").holders, 2U);
}

TEST_F(EngineModes, UpgradeOfTheOnlyReaderIsImmediateUnderANewToken) {
  Client a = open();
  const Reply held = acquire(a, "x", 0, Mode::kShared);
  const Reply upgraded = convert(a, "x", held.token, Mode::kExclusive);
  EXPECT_EQ(upgraded.status, Status::kOk);
  EXPECT_GT(upgraded.token, held.token);
  EXPECT_EQ(release(a, "x", held.token).status, Status::kStaleToken);
  EXPECT_EQ(release(a, "x", upgraded.token).status, Status::kOk);
}

TEST_F(EngineModes, UpgradeWaitsForOtherReadersBeforeAnyWaiter) {
  Client a = open();
  Client b = open();
  Client c = open();
  const Reply first = acquire(a, "x", 0, Mode::kShared);
  const Reply second = acquire(b, "x", 0, Mode::kShared);
  EXPECT_EQ(acquire(c, "x", 10 * kSecond).status, Status::kQueued);
  EXPECT_EQ(convert(a, "x", first.token, Mode::kExclusive).status, Status::kBusy);
  EXPECT_EQ(convert(a, "x", first.token, Mode::kExclusive, kSecond).status, Status::kQueued);
  EXPECT_EQ(convert(b, "x", second.token, Mode::kExclusive, kSecond).status, Status::kDeadlock);
  EXPECT_TRUE(nothing_pushed());
  release(b, "x", second.token);
  const Reply upgraded = pushed();
  EXPECT_EQ(upgraded.op, Op::kConvert);
  EXPECT_GT(upgraded.token, second.token);
  EXPECT_TRUE(nothing_pushed());
  release(a, "x", upgraded.token, 1);
  EXPECT_EQ(pushed().op, Op::kAcquire);
}

TEST_F(EngineModes, UpgradeGivenUpLeavesTheReader) {
  Client a = open();
  Client b = open();
  const Reply first = acquire(a, "x", 0, Mode::kShared);
  acquire(b, "x", 0, Mode::kShared);
  EXPECT_EQ(convert(a, "x", first.token, Mode::kExclusive, kSecond).status, Status::kQueued);
  pass(1100 * kMillisecond);
  EXPECT_EQ(pushed().status, Status::kTimeout);
  EXPECT_EQ(query(a, "x").holders, 2U);
  EXPECT_EQ(query(a, "x").waiters, 0U);
}

TEST_F(EngineModes, GroupIsAllOrNothing) {
  Client a = open();
  Client b = open();
  const Reply held = acquire(a, "y");
  EXPECT_EQ(acquire_group(b, {"x", "y", "z"}).reply.status, Status::kBusy);
  EXPECT_EQ(query(b, "x").holders, 0U);
  release(a, "y", held.token);
  const GroupReply all = acquire_group(b, {"x", "y", "z"});
  EXPECT_EQ(all.reply.status, Status::kOk);
  ASSERT_EQ(all.grants.size(), 3U);
  EXPECT_EQ(acquire(a, "z").status, Status::kBusy);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(release(b, std::string(1, static_cast<char>('x' + i)), all.grants[i].token).status,
              Status::kOk);
  }
  EXPECT_EQ(node_->locks().locks_in_use(), 0U);
}

TEST_F(EngineModes, GroupWaitsForAllAndIsPushedOnce) {
  Client a = open();
  Client b = open();
  Client c = open();
  const Reply x = acquire(a, "x");
  const Reply y = acquire(a, "y");
  EXPECT_EQ(acquire_group(b, {"x", "y"}, kSecond).reply.status, Status::kQueued);
  release(a, "x", x.token);
  EXPECT_TRUE(nothing_pushed());
  EXPECT_EQ(acquire(c, "x").status, Status::kBusy);
  release(a, "y", y.token);
  Push push;
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_EQ(push.reply.status, Status::kOk);
  EXPECT_EQ(push.more_count, 1U);
  const auto grant = wire::load<wire::Grant>(push.more[0].body.data());
  EXPECT_EQ(release(b, "x", grant.token, 1).status, Status::kOk);
}

TEST_F(EngineModes, GroupsInAnyOrderDoNotDeadlock) {
  Client a = open();
  Client b = open();
  Client c = open();
  const Reply held = acquire(c, "x");
  EXPECT_EQ(acquire_group(a, {"x", "y"}, kSecond).reply.status, Status::kQueued);
  EXPECT_EQ(acquire_group(b, {"y", "x"}, kSecond).reply.status, Status::kQueued);
  release(c, "x", held.token);
  Push push;
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_EQ(push.session, a.session);
  EXPECT_TRUE(nothing_pushed());
  for (int i = 0; i < 2; ++i) {
    const auto grant = wire::load<wire::Grant>(push.more[0].body.data() + i * sizeof(wire::Grant));
    release(a, i == 0 ? "x" : "y", grant.token, 1);
  }
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_EQ(push.session, b.session);
}

TEST_F(EngineModes, GroupThatTimesOutGivesBackWhatItHad) {
  Client a = open(60 * kSecond);
  Client b = open(60 * kSecond);
  acquire(a, "y");
  EXPECT_EQ(acquire_group(b, {"x", "y", "z"}, kSecond).reply.status, Status::kQueued);
  pass(1100 * kMillisecond);
  EXPECT_EQ(pushed().status, Status::kTimeout);
  EXPECT_EQ(query(a, "x").holders, 0U);
  EXPECT_EQ(query(a, "z").holders, 0U);
  EXPECT_EQ(query(a, "y").waiters, 0U);
}

TEST_F(EngineModes, CancelledGroupIsGone) {
  Client a = open();
  Client b = open();
  acquire(a, "y");
  EXPECT_EQ(acquire_group(b, {"x", "y"}, kSecond).reply.status, Status::kQueued);
  EXPECT_EQ(cancel(b, 0, 1, 1).status, Status::kOk);
  EXPECT_EQ(query(a, "x").holders, 0U);
  const GroupReply granted = acquire_group(b, {"p", "q"});
  EXPECT_EQ(granted.reply.status, Status::kOk);
  EXPECT_EQ(cancel(b, 0, 2, 1).status, Status::kOk);
  EXPECT_EQ(query(a, "p").holders, 0U);
}

TEST_F(EngineModes, RepeatedGroupGetsTheSameGrants) {
  Client a = open();
  const Request request = group_request(a, 2, 0, 0);
  const GroupReply first = send_group(a, request, {"x", "y"});
  const GroupReply again = send_group(a, request, {"x", "y"});
  EXPECT_EQ(first.grants[0].token, again.grants[0].token);
  EXPECT_EQ(first.grants[1].ticket, again.grants[1].ticket);
  EXPECT_EQ(send_group(a, request, {"x", "z"}).reply.status, Status::kFalseRepeat);
}

TEST_F(EngineModes, SixteenLongKeysFitADatagram) {
  std::vector<std::string> keys;
  for (char c = 'a'; c < 'a' + 16; ++c) keys.emplace_back(wire::kKeyBytesMax, c);
  const std::size_t bytes = keys.size() * (wire::kGroupKeyHeadBytes + wire::kKeyBytesMax);
  EXPECT_LE(1 + (bytes + 94) / 95, wire::kOpsMax);
  EngineOptions options = small_options();
  options.locks.long_keys_max = 16;
  restart(options);
  Client a = open();
  EXPECT_EQ(acquire_group(a, keys).reply.status, Status::kOk);
}

TEST_F(EngineModes, GroupNamesAreChecked) {
  Client a = open();
  EXPECT_EQ(acquire_group(a, {"x", "x"}).reply.status, Status::kBadRequest);
  EXPECT_EQ(acquire_group(a, {"x", ""}).reply.status, Status::kBadRequest);
  Request request = group_request(a, 17, 0, 0);
  EXPECT_EQ(send_group(a, request, {"x"}).reply.status, Status::kBadRequest);
}

TEST_F(EngineModes, SessionEndEndsItsGroups) {
  Client a = open();
  Client b = open();
  acquire(a, "y");
  EXPECT_EQ(acquire_group(b, {"x", "y"}, kSecond).reply.status, Status::kQueued);
  acquire_group(b, {"p", "q"}, 0, 1);
  EXPECT_EQ(send(b, numbered(b, Op::kClose, "", 2)).status, Status::kOk);
  node_->advance(reading());
  EXPECT_EQ(pushed().status, Status::kSessionEnded);
  EXPECT_EQ(node_->locks().locks_in_use(), 1U);
}

TEST_F(EngineModes, TakeOverOnlyWhereThePolicyIsFence) {
  EngineOptions options = small_options();
  options.namespaces = {{.id = 7, .fence = true}};
  restart(options);
  Client a = open();
  Client b = open();
  const Reply plain = acquire(a, "x");
  Request request = acquire_request(b, "x");
  request.flags = wire::kTakeOver;
  EXPECT_EQ(send(b, request).status, Status::kDenied);
  Request fenced = acquire_request(a, "x");
  fenced.namespace_id = 7;
  const Reply held = send(a, fenced);
  EXPECT_EQ(held.status, Status::kOk);
  request = acquire_request(b, "x");
  request.flags = wire::kTakeOver;
  request.namespace_id = 7;
  const Reply taken = send(b, request);
  EXPECT_EQ(taken.status, Status::kOk);
  EXPECT_GT(taken.token, held.token);
  const Reply notice = pushed();
  EXPECT_EQ(notice.status, Status::kRevoked);
  EXPECT_EQ(notice.token, held.token);
  EXPECT_EQ(query(a, "x").token, plain.token);
}

TEST_F(EngineModes, LockDelayOutlastsTheLeaseButNotAClose) {
  wire::OpenRequest request;
  request.client_nonce[0] = 50;
  request.slots = 4;
  request.term_ns = kSecond;
  request.lock_delay_ms = 3000;
  request.cookie = open_raw(request).cookie;
  Client a;
  a.session = node_->sessions().find(open_raw(request).session_id);
  Client b = open(60 * kSecond);
  acquire(a, "x");
  pass(1500 * kMillisecond);
  EXPECT_EQ(renew(a, 1).status, Status::kNoSession);
  EXPECT_EQ(acquire(b, "x").status, Status::kBusy);
  pass(3000 * kMillisecond);
  EXPECT_EQ(acquire(b, "x").status, Status::kOk);
}

TEST_F(EngineModes, QuotasHoldPerNamespaceAndClient) {
  EngineOptions options = small_options();
  options.sessions_per_client_max = 2;
  options.namespaces = {{.id = 0, .locks_max = 2, .acquires_per_second_max = 4}};
  restart(options);
  Client a = open();
  Client b = open();
  wire::OpenRequest request;
  request.client_nonce[0] = 77;
  request.cookie = open_raw(request).cookie;
  EXPECT_EQ(open_raw(request).status, Status::kQuota);
  const Reply first = acquire(a, "1");
  EXPECT_EQ(acquire(a, "2").status, Status::kOk);
  EXPECT_EQ(acquire(a, "3").status, Status::kQuota);
  release(a, "1", first.token);
  EXPECT_EQ(acquire(a, "3").status, Status::kOk);
  EXPECT_EQ(acquire(b, "2").status, Status::kQuota);  // the fifth in this second
  now_ns_ += kSecond;
  EXPECT_EQ(acquire(b, "2").status, Status::kBusy);
  send(b, numbered(b, Op::kClose, "", 1));
  node_->advance(reading());
  EXPECT_EQ(open_raw(request).status, Status::kOk);
}

TEST_F(EngineModes, SessionsOfANamespaceAreCountedUntilTheyEnd) {
  EngineOptions options = small_options();
  options.namespaces = {{.id = 5}, {.id = 0, .sessions_max = 2}};
  restart(options);
  Client a = open();
  Client b = open();
  Client c = open();
  const Reply held = acquire(a, "x");
  EXPECT_EQ(acquire_group(b, {"y", "z"}).reply.status, Status::kOk);
  EXPECT_EQ(acquire(c, "w").status, Status::kQuota);
  EXPECT_EQ(acquire_group(c, {"v", "w"}, 0, 1).reply.status, Status::kQuota);
  EXPECT_EQ(release(a, "x", held.token).status, Status::kOk);
  EXPECT_EQ(acquire(c, "w").status, Status::kQuota);  // a may come back
  Request other = acquire_request(c, "w");
  other.namespace_id = 5;
  EXPECT_EQ(send(c, other).status, Status::kOk);
  send(b, numbered(b, Op::kClose, "", 1));
  node_->advance(reading());
  EXPECT_EQ(acquire(c, "w").status, Status::kOk);
  EXPECT_EQ(acquire(a, "x").status, Status::kOk);
}

}  // namespace
}  // namespace driftlock::test
