#include "engine_fixture.hpp"

namespace driftlock::test {
namespace {

class EngineRestart : public EngineFixture {
 protected:
  // The next life: epoch raised, old leases possibly alive for `grace_ns` more.
  void next_life(Nanoseconds grace_ns = 5 * kSecond) {
    EngineOptions options = small_options();
    options.epoch = ++epoch_;
    options.ready_after_tai_ns = now_ns_ + grace_ns;
    restart(options);
  }

  std::uint32_t epoch_ = small_options().epoch;
};

TEST_F(EngineRestart, HolderReclaimsItsLockUnderItsToken) {
  Client a = open();
  const Reply held = acquire(a, "x");
  EXPECT_NE(held.ticket, 0U);
  next_life();
  a = open();
  const Reply reclaimed = reclaim(a, "x", held.token, held.ticket);
  EXPECT_EQ(reclaimed.status, Status::kOk);
  EXPECT_EQ(reclaimed.token, held.token);
  EXPECT_EQ(reclaimed.ticket, held.ticket);
  EXPECT_EQ(release(a, "x", held.token).status, Status::kOk);
}

TEST_F(EngineRestart, FreshGrantsWaitForOldLeasesAndHaveHigherTokens) {
  Client a = open();
  const Reply held = acquire(a, "x");
  next_life();
  Client b = open();
  EXPECT_EQ(acquire(b, "x").status, Status::kNotReady);
  EXPECT_EQ(acquire(b, "x", 60 * kSecond).status, Status::kQueued);
  for (int i = 0; i < 3; ++i) {
    pass(1500 * kMillisecond);
    EXPECT_TRUE(nothing_pushed());
    EXPECT_EQ(renew(b, 1).status, Status::kOk);
  }
  pass(1500 * kMillisecond);
  const Reply granted = pushed();
  EXPECT_EQ(granted.status, Status::kOk);
  EXPECT_GT(granted.token, held.token);
}

TEST_F(EngineRestart, ForgedOrBorrowedTicketsAreDenied) {
  Client a = open();
  const Reply held = acquire(a, "x");
  next_life();
  a = open();
  EXPECT_EQ(reclaim(a, "x", held.token, held.ticket ^ 1).status, Status::kDenied);
  EXPECT_EQ(reclaim(a, "y", held.token, held.ticket).status, Status::kDenied);
  EXPECT_EQ(reclaim(a, "x", held.token + 1, held.ticket).status, Status::kDenied);
  const Reply fresh = acquire(a, "z");
  EXPECT_EQ(fresh.status, Status::kNotReady);
}

TEST_F(EngineRestart, TicketOfThisLifeIsNoTicket) {
  Client a = open();
  const Reply held = acquire(a, "x");
  EXPECT_EQ(reclaim(a, "x", held.token, held.ticket).status, Status::kDenied);
}

TEST_F(EngineRestart, LaterHolderBeatsAnOldTicket) {
  Client a = open();
  Client b = open();
  const Reply old = acquire(a, "x");
  release(a, "x", old.token);
  const Reply held = acquire(b, "x");
  next_life();
  a = open();
  b = open();
  EXPECT_EQ(reclaim(a, "x", old.token, old.ticket).status, Status::kOk);
  EXPECT_EQ(reclaim(b, "x", held.token, held.ticket).status, Status::kOk);
  const Reply notice = pushed();
  EXPECT_EQ(notice.status, Status::kRevoked);
  EXPECT_EQ(notice.token, old.token);
  EXPECT_EQ(reclaim(a, "x", old.token, old.ticket).status, Status::kStaleToken);
}

TEST_F(EngineRestart, ReclaimComesTooLateAfterTheHorizon) {
  Client a = open();
  const Reply held = acquire(a, "x");
  next_life(kSecond);
  now_ns_ += kSecond + 2 * kHalfWidth;
  node_->advance(reading());
  a = open();
  EXPECT_EQ(reclaim(a, "x", held.token, held.ticket).status, Status::kNotHeld);
}

TEST_F(EngineRestart, SharedHoldersAllReclaim) {
  Client a = open();
  Client b = open();
  const Reply first = acquire(a, "x", 0, Mode::kShared);
  const Reply second = acquire(b, "x", 0, Mode::kShared);
  next_life();
  a = open();
  b = open();
  Request request = numbered(a, Op::kReclaim, "x", 0);
  request.mode = Mode::kShared;
  request.argument = first.token;
  request.predicted_release_ns = static_cast<std::int64_t>(first.ticket);
  EXPECT_EQ(send(a, request).status, Status::kOk);
  request.argument = second.token;
  request.predicted_release_ns = static_cast<std::int64_t>(second.ticket);
  EXPECT_EQ(send(b, request).status, Status::kOk);
  EXPECT_EQ(query(a, "x").holders, 2U);
}

TEST_F(EngineRestart, NoLeaseEndIsPromisedPastTheHorizon) {
  node_->set_lease_horizon(now_ns_ + 2 * kSecond);
  Client a = open(60 * kSecond);
  EXPECT_EQ(acquire(a, "x").lease_end_ns, now_ns_ + 2 * kSecond);
  EXPECT_GE(node_->lease_end_wanted(), now_ns_ + 60 * kSecond);
  node_->set_lease_horizon(now_ns_ + 120 * kSecond);
  EXPECT_GE(renew(a).lease_end_ns, now_ns_ + 60 * kSecond);
}

}  // namespace
}  // namespace driftlock::test
