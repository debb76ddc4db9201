#include "engine_fixture.hpp"

namespace driftlock::test {
namespace {

using EngineTest = EngineFixture;

TEST_F(EngineTest, OpenWithoutCookieKeepsNoState) {
  wire::OpenRequest request;
  EXPECT_EQ(open_raw(request).status, Status::kCookie);
  EXPECT_EQ(node_->sessions().active(), 0U);
}

TEST_F(EngineTest, CookieIsGoodForItsSenderAloneAndForAWhile) {
  wire::OpenRequest request;
  request.cookie = open_raw(request).cookie;
  RequestContext elsewhere = context();
  elsewhere.peer.ipv4 ^= 1;
  EXPECT_EQ(node_->open(1, *keyring_.find(1), request, elsewhere).status, Status::kCookie);
  now_ns_ += 60 * kSecond;
  EXPECT_EQ(open_raw(request).status, Status::kCookie);
}

TEST_F(EngineTest, RepeatedOpenFindsItsSession) {
  wire::OpenRequest request;
  request.cookie = open_raw(request).cookie;
  const wire::OpenReply first = open_raw(request);
  const wire::OpenReply second = open_raw(request);
  EXPECT_EQ(first.session_id, second.session_id);
  EXPECT_EQ(first.node_nonce, second.node_nonce);
  EXPECT_EQ(node_->sessions().active(), 1U);
}

TEST_F(EngineTest, ExclusiveExcludesAndTokensRise) {
  Client a = open();
  Client b = open();
  const Reply first = acquire(a, "x");
  EXPECT_EQ(first.status, Status::kOk);
  EXPECT_EQ(first.token >> 40, 3U);  // the epoch
  EXPECT_GE(first.lease_end_ns, now_ns_ + 5 * kSecond);
  EXPECT_EQ(acquire(b, "x").status, Status::kBusy);
  EXPECT_EQ(release(a, "x", first.token).status, Status::kOk);
  const Reply second = acquire(b, "x");
  EXPECT_EQ(second.status, Status::kOk);
  EXPECT_GT(second.token, first.token);
}

TEST_F(EngineTest, RepeatsGetTheSameAnswerAndActOnce) {
  Client a = open();
  Client b = open();
  const Request request = acquire_request(a, "x");
  const Reply first = send(a, request);
  const Reply again = send(a, request);
  EXPECT_EQ(first.token, again.token);
  Request release_request = numbered(a, Op::kRelease, "x", 1);
  release_request.argument = first.token;
  EXPECT_EQ(send(a, release_request).status, Status::kOk);
  const Reply other = acquire(b, "x");
  EXPECT_EQ(other.status, Status::kOk);
  // The retried unlock must not free the newer lock.
  EXPECT_EQ(send(a, release_request).status, Status::kOk);
  EXPECT_EQ(query(a, "x").token, other.token);
}

TEST_F(EngineTest, SequencesAreChecked) {
  Client a = open();
  Request request = acquire_request(a, "x");
  request.sequence = 5;
  EXPECT_EQ(send(a, request).status, Status::kMisordered);
  a.sequences[0] = 0;
  EXPECT_EQ(acquire(a, "x").status, Status::kOk);
  Request other = acquire_request(a, "y");
  other.sequence = 1;
  EXPECT_EQ(send(a, other).status, Status::kFalseRepeat);
  a.sequences[0] = 1;
  EXPECT_EQ(acquire(a, "z").status, Status::kOk);
  other.sequence = 1;
  EXPECT_EQ(send(a, other).status, Status::kStaleSequence);
  request.slot = 4;
  EXPECT_EQ(send(a, request).status, Status::kBadRequest);
}

TEST_F(EngineTest, ReleaseMatchesLockSessionAndToken) {
  Client a = open();
  Client b = open();
  const Reply held = acquire(a, "x");
  EXPECT_EQ(release(a, "x", held.token + 1).status, Status::kStaleToken);
  EXPECT_EQ(release(b, "x", held.token).status, Status::kNotHeld);
  EXPECT_EQ(release(a, "y", held.token).status, Status::kNotHeld);
  EXPECT_EQ(query(b, "x").holders, 1U);
}

TEST_F(EngineTest, WaitersAreServedInOrderByPush) {
  Client a = open();
  Client b = open();
  Client c = open();
  const Reply held = acquire(a, "x");
  EXPECT_EQ(acquire(b, "x", kSecond).status, Status::kQueued);
  const Reply queued = acquire(c, "x", kSecond);
  EXPECT_EQ(queued.status, Status::kQueued);
  EXPECT_EQ(queued.waiters, 1U);
  EXPECT_EQ(query(a, "x").waiters, 2U);
  EXPECT_EQ(release(a, "x", held.token).status, Status::kOk);
  const Reply granted = pushed();
  EXPECT_EQ(granted.status, Status::kOk);
  EXPECT_EQ(granted.token, held.token + 1);
  EXPECT_TRUE(nothing_pushed());
  EXPECT_EQ(release(b, "x", granted.token, 1).status, Status::kOk);
  EXPECT_EQ(pushed().token, held.token + 2);
}

TEST_F(EngineTest, NewcomersDoNotOvertakeWaiters) {
  Client a = open();
  Client b = open();
  Client c = open();
  acquire(a, "x", 0, Mode::kShared);
  EXPECT_EQ(acquire(b, "x", kSecond, Mode::kExclusive).status, Status::kQueued);
  EXPECT_EQ(acquire(c, "x", 0, Mode::kShared).status, Status::kBusy);
}

TEST_F(EngineTest, SharedHoldersShareAndAWriterWaitsForAll) {
  Client a = open();
  Client b = open();
  Client c = open();
  const Reply first = acquire(a, "x", 0, Mode::kShared);
  const Reply second = acquire(b, "x", 0, Mode::kShared);
  EXPECT_EQ(second.status, Status::kOk);
  EXPECT_EQ(acquire(c, "x", kSecond).status, Status::kQueued);
  release(a, "x", first.token);
  EXPECT_TRUE(nothing_pushed());
  release(b, "x", second.token);
  EXPECT_EQ(pushed().status, Status::kOk);
}

TEST_F(EngineTest, SemaphoreCountsItsPermits) {
  Client a = open();
  Client b = open();
  Request request = acquire_request(a, "s", 0, Mode::kSemaphore);
  request.permits = 2;
  request.permits_max = 3;
  EXPECT_EQ(send(a, request).status, Status::kOk);
  Request more = acquire_request(b, "s", 0, Mode::kSemaphore);
  more.permits = 2;
  more.permits_max = 3;
  EXPECT_EQ(send(b, more).status, Status::kBusy);
  more = acquire_request(b, "s", 0, Mode::kSemaphore);
  more.permits = 1;
  more.permits_max = 3;
  EXPECT_EQ(send(b, more).status, Status::kOk);
  more = acquire_request(b, "s", 0, Mode::kSemaphore);
  more.permits = 1;
  more.permits_max = 4;
  EXPECT_EQ(send(b, more).status, Status::kModeConflict);
  EXPECT_EQ(acquire(b, "s").status, Status::kModeConflict);
}

TEST_F(EngineTest, ReentranceCountsDepth) {
  Client a = open();
  Client b = open();
  const Reply first = acquire(a, "x");
  const Reply again = acquire(a, "x");
  EXPECT_EQ(again.token, first.token);
  release(a, "x", first.token);
  EXPECT_EQ(acquire(b, "x").status, Status::kBusy);
  release(a, "x", first.token);
  EXPECT_EQ(acquire(b, "x").status, Status::kOk);
}

TEST_F(EngineTest, WaitEndsAtItsDeadlineAndLetsOthersPass) {
  Client a = open();
  Client b = open();
  Client c = open(60 * kSecond);
  acquire(a, "x", 0, Mode::kShared);
  EXPECT_EQ(acquire(b, "x", kSecond, Mode::kExclusive).status, Status::kQueued);
  EXPECT_EQ(acquire(c, "x", 10 * kSecond, Mode::kShared).status, Status::kQueued);
  pass(1100 * kMillisecond);
  EXPECT_EQ(pushed().status, Status::kTimeout);
  EXPECT_EQ(pushed().status, Status::kOk);  // the reader behind the writer that gave up
}

TEST_F(EngineTest, ExpiryWaitsUntilEarliestIsPastTheLeaseEnd) {
  Client a = open(kSecond);
  Client b = open(60 * kSecond);
  const Reply held = acquire(a, "x");
  EXPECT_EQ(acquire(b, "x", 10 * kSecond).status, Status::kQueued);
  now_ns_ = held.lease_end_ns + kHalfWidth;  // earliest == lease end: not yet
  for (int i = 0; i < 64; ++i) node_->advance(reading());
  EXPECT_TRUE(nothing_pushed());
  pass(3 * kMillisecond);
  const Reply granted = pushed();
  EXPECT_EQ(granted.status, Status::kOk);
  EXPECT_GT(granted.token, held.token);
  EXPECT_EQ(acquire(a, "y").status, Status::kNoSession);
  EXPECT_EQ(node_->gauges().sessions_expired.read(), 1U);
}

TEST_F(EngineTest, RenewalKeepsEveryLock) {
  Client a = open(kSecond);
  Client b = open(60 * kSecond);
  acquire(a, "x");
  acquire(a, "y");
  for (int i = 0; i < 20; ++i) {
    pass(500 * kMillisecond);
    EXPECT_EQ(renew(a).status, Status::kOk);
  }
  EXPECT_EQ(acquire(b, "x").status, Status::kBusy);
  EXPECT_EQ(acquire(b, "y").status, Status::kBusy);
}

TEST_F(EngineTest, CloseGivesEverythingBackAndTellsWaiters) {
  Client a = open();
  Client b = open();
  Client c = open();
  acquire(a, "x");
  acquire(b, "y");
  EXPECT_EQ(acquire(a, "y", kSecond, Mode::kExclusive, 1).status, Status::kQueued);
  EXPECT_EQ(acquire(c, "x", kSecond).status, Status::kQueued);
  const Request close = numbered(a, Op::kClose, "", 2);
  EXPECT_EQ(send(a, close).status, Status::kOk);
  EXPECT_EQ(send(a, close).status, Status::kOk);  // a repeat
  node_->advance(reading());
  std::multimap<Status, std::uint32_t> told;
  Push push;
  while (node_->next_push(push)) told.emplace(push.reply.status, push.session);
  EXPECT_EQ(told.count(Status::kSessionEnded), 1U);
  EXPECT_EQ(told.count(Status::kOk), 1U);
  EXPECT_EQ(query(b, "y").waiters, 0U);
  EXPECT_EQ(renew(a, 3).status, Status::kNoSession);
}

TEST_F(EngineTest, CancelOvertakingItsAcquireLeavesNoGhost) {
  Client a = open();
  Client b = open();
  const Request late = acquire_request(a, "x");
  EXPECT_EQ(cancel(a, 0, late.sequence, 1).status, Status::kOk);
  EXPECT_EQ(send(a, late).status, Status::kCancelled);
  EXPECT_EQ(acquire(b, "x").status, Status::kOk);
  EXPECT_EQ(acquire(a, "y").status, Status::kOk);  // the slot goes on with its next number
}

TEST_F(EngineTest, CancelEndsAWaitOrGivesBackTheGrant) {
  Client a = open();
  Client b = open();
  const Reply held = acquire(a, "x");
  const Request waiting = acquire_request(b, "x", kSecond);
  EXPECT_EQ(send(b, waiting).status, Status::kQueued);
  EXPECT_EQ(cancel(b, 0, waiting.sequence, 1).status, Status::kOk);
  EXPECT_EQ(send(b, waiting).status, Status::kCancelled);
  EXPECT_EQ(cancel(a, 0, 1, 1).status, Status::kOk);
  EXPECT_EQ(release(a, "x", held.token).status, Status::kNotHeld);
  EXPECT_EQ(query(a, "x").holders, 0U);
}

TEST_F(EngineTest, LostClockGrantsNothingAndFreesNothingThenGoesOn) {
  Client a = open();
  Client b = open();
  const Reply held = acquire(a, "x");
  EXPECT_EQ(acquire(b, "x", 60 * kSecond).status, Status::kQueued);
  clock_state_ = ClockState::kLost;
  EXPECT_EQ(acquire(b, "y", 0, Mode::kExclusive, 1).status, Status::kClockLost);
  EXPECT_EQ(renew(a, 1).status, Status::kClockLost);
  EXPECT_EQ(release(a, "x", held.token).status, Status::kOk);
  EXPECT_TRUE(nothing_pushed());
  clock_state_ = ClockState::kSync;
  for (int i = 0; i < 4; ++i) node_->advance(reading());
  EXPECT_EQ(pushed().status, Status::kOk);
}

TEST_F(EngineTest, NothingFreshBeforeTheOldLeasesAreOver) {
  EngineOptions options = small_options();
  options.ready_after_tai_ns = kStart + kSecond;
  node_ = std::make_unique<Engine>(options, keyring_, std::pmr::new_delete_resource());
  node_->advance(reading());
  Client client = open();
  EXPECT_EQ(acquire(client, "x").status, Status::kNotReady);
  now_ns_ += kSecond + 2 * kHalfWidth;
  EXPECT_EQ(acquire(client, "x").status, Status::kOk);
}

TEST_F(EngineTest, FullTablesSaySo) {
  Client a = open();
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(acquire(a, "k" + std::to_string(i)).status, Status::kOk);
  }
  EXPECT_EQ(acquire(a, "one more").status, Status::kFull);
  for (int i = 0; i < 7; ++i) open();
  wire::OpenRequest request;
  request.client_nonce[0] = 99;
  request.cookie = open_raw(request).cookie;
  EXPECT_EQ(open_raw(request).status, Status::kFull);
}

TEST_F(EngineTest, LongKeysAreWholeKeys) {
  Client a = open();
  const std::string long_key(64, 'k');
  std::string other = long_key;
  other.back() = 'l';
  const Reply held = acquire(a, long_key);
  EXPECT_EQ(held.status, Status::kOk);
  EXPECT_EQ(acquire(a, other).status, Status::kOk);
  EXPECT_EQ(release(a, long_key, held.token).status, Status::kOk);
  EXPECT_EQ(query(a, long_key).holders, 0U);
  EXPECT_EQ(query(a, other).holders, 1U);
}

TEST_F(EngineTest, ResidualSplitsIntoClockAndBehaviour) {
  Client a = open();
  Request acquire = acquire_request(a, "x");
  acquire.predicted_release_ns = now_ns_ + 10 * kMillisecond;
  const Reply held = send(a, acquire);
  now_ns_ += 25 * kMillisecond;
  Request request = numbered(a, Op::kRelease, "x", 0);
  request.argument = held.token;
  request.predicted_release_ns = now_ns_;
  const Reply released = send(a, request);
  EXPECT_EQ(released.behaviour_residual_ns, 15 * kMillisecond);
  EXPECT_EQ(released.clock_residual_ns, 0);
}

}  // namespace
}  // namespace driftlock::test
