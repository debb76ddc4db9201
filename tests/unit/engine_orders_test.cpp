// What the predictor may and may not do to sessions: no order breaks a promise.
#include "tests/unit/engine_fixture.hpp"

namespace driftlock::test {
namespace {

constexpr std::uint16_t kFenced = 9;
constexpr std::uint16_t kShadowed = 10;
constexpr std::uint16_t kTolerant = 11;

class EngineOrders : public EngineFixture {
 protected:
  EngineOrders() {
    EngineOptions options = small_options();
    options.namespaces = {{.id = kFenced, .fence = true},
                          {.id = kShadowed, .fence = true, .prediction = PredictionMode::kShadow},
                          {.id = kTolerant, .suspect_strangeness = 9.0F}};
    restart(options);
  }
  OrderOutcome order(const Client& client, OrderKind kind, float strangeness = 5.0F,
                     std::uint32_t short_us = 0, std::uint32_t long_us = 0) {
    return node_->obey({.session_id = node_->sessions().at(client.session).id,
                        .session = client.session,
                        .kind = kind,
                        .strangeness = strangeness,
                        .short_us = short_us,
                        .long_us = long_us},
                       reading());
  }
  Reply acquire_in(Client& client, std::uint16_t space, const std::string& key,
                   Nanoseconds wait_ns = 0) {
    Request request = acquire_request(client, key, wait_ns);
    request.namespace_id = space;
    return send(client, request);
  }
};

TEST_F(EngineOrders, TermsDependOnWhetherSomebodyWaits) {
  Client holder = open(5 * kSecond);
  Client other = open(60 * kSecond);
  ASSERT_EQ(acquire(holder, "a").status, Status::kOk);
  EXPECT_EQ(order(holder, OrderKind::kTerms, 0, 1'000'000, 8'000'000).result, OrderResult::kDone);
  EXPECT_EQ(renew(holder).term_ns, 8 * kSecond);
  const Reply before = renew(holder);
  ASSERT_EQ(acquire(other, "a", 60 * kSecond).status, Status::kQueued);
  const Reply after = renew(holder);
  EXPECT_EQ(after.term_ns, kSecond);
  EXPECT_GE(after.lease_end_ns, before.lease_end_ns) << "a promise was taken back";
  pass(9 * kSecond);
  EXPECT_EQ(renew(holder).status, Status::kNoSession) << "the long lease is over";
}

TEST_F(EngineOrders, WithoutAnOrderTheClientsWishCountsAgain) {
  Client holder = open(5 * kSecond);
  order(holder, OrderKind::kTerms, 0, 1'000'000, 1'000'000);
  EXPECT_EQ(renew(holder).term_ns, kSecond);
  order(holder, OrderKind::kTerms, 0, 0, 0);
  EXPECT_EQ(renew(holder).term_ns, 5 * kSecond);
}

TEST_F(EngineOrders, AFixedTermStaysAsItWasAsked) {
  wire::OpenRequest request;
  request.client_nonce[0] = 77;
  request.slots = 2;
  request.term_ns = 20 * kSecond;
  request.flags = wire::kFixedTerm;
  request.cookie = open_raw(request).cookie;
  Client detached;
  detached.session = node_->sessions().find(open_raw(request).session_id);
  ASSERT_EQ(acquire(detached, "a").status, Status::kOk);
  order(detached, OrderKind::kTerms, 0, 1'000'000, 1'000'000);
  EXPECT_EQ(renew(detached).term_ns, 20 * kSecond);
  EXPECT_EQ(order(detached, OrderKind::kAskLow).result, OrderResult::kNotHolder);
  EXPECT_TRUE(nothing_pushed());
}

TEST_F(EngineOrders, AHolderIsAskedToRenewFirstAtLowPriority) {
  Client holder = open();
  EXPECT_EQ(order(holder, OrderKind::kAskLow).result, OrderResult::kNotHolder);
  ASSERT_EQ(acquire(holder, "a").status, Status::kOk);
  EXPECT_EQ(order(holder, OrderKind::kAskLow).result, OrderResult::kDone);
  Push push;
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_EQ(push.reply.op, Op::kAskRenewal);
  EXPECT_EQ(push.reply.slot, wire::kNoSlot);
  EXPECT_EQ(push.traffic_class, 4) << "DSCP 000001";
  EXPECT_EQ(order(holder, OrderKind::kAskNormal).result, OrderResult::kDone);
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_EQ(push.traffic_class, 0);
}

TEST_F(EngineOrders, TheSuccessorIsAskedToo) {
  Client holder = open();
  Client next = open();
  ASSERT_EQ(acquire(holder, "a").status, Status::kOk);
  ASSERT_EQ(acquire(next, "a", kSecond).status, Status::kQueued);
  order(holder, OrderKind::kAskNormal);
  Push push;
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_EQ(push.session, holder.session);
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_EQ(push.session, next.session);
}

TEST_F(EngineOrders, FailingEndsNoPromiseUnderThePolicyWait) {
  Client holder = open(5 * kSecond);
  Client next = open(60 * kSecond);
  ASSERT_EQ(acquire(holder, "a").status, Status::kOk);
  ASSERT_EQ(acquire(next, "a", 30 * kSecond).status, Status::kQueued);
  EXPECT_EQ(order(holder, OrderKind::kFail).revoked, 0U);
  pass(4 * kSecond);
  EXPECT_TRUE(nothing_pushed());
  EXPECT_EQ(renew(holder).status, Status::kOk) << "it lived after all";
  pass(6 * kSecond);
  EXPECT_EQ(pushed().op, Op::kAcquire);
}

TEST_F(EngineOrders, FailingGivesFencedLocksToTheNextAtOnce) {
  Client holder = open();
  Client next = open();
  const Reply first = acquire_in(holder, kFenced, "a");
  ASSERT_EQ(acquire_in(next, kFenced, "a", 30 * kSecond).status, Status::kQueued);
  EXPECT_EQ(order(holder, OrderKind::kFail).revoked, 1U);
  EXPECT_EQ(pushed().status, Status::kRevoked);
  const Reply second = pushed();
  EXPECT_EQ(second.status, Status::kOk);
  EXPECT_GT(second.token, first.token);
  EXPECT_EQ(node_->gauges().revocations.read(), 1U);
}

TEST_F(EngineOrders, WhoComesLaterTakesAFencedLockFromAFailingHolder) {
  Client holder = open();
  Client later = open();
  const Reply first = acquire_in(holder, kFenced, "a");
  EXPECT_EQ(order(holder, OrderKind::kFail).revoked, 0U) << "nobody wants it yet";
  const Reply second = acquire_in(later, kFenced, "a");
  EXPECT_EQ(second.status, Status::kOk);
  EXPECT_GT(second.token, first.token);
}

TEST_F(EngineOrders, ARestoredHolderKeepsItsFencedLock) {
  Client holder = open();
  Client later = open();
  ASSERT_EQ(acquire_in(holder, kFenced, "a").status, Status::kOk);
  order(holder, OrderKind::kFail);
  order(holder, OrderKind::kRestore);
  EXPECT_EQ(acquire_in(later, kFenced, "a").status, Status::kBusy);
}

TEST_F(EngineOrders, ANamespaceMayWantLess) {
  Client shadowed = open();
  Client next = open();
  ASSERT_EQ(acquire_in(shadowed, kShadowed, "a").status, Status::kOk);
  ASSERT_EQ(acquire_in(next, kShadowed, "a", kSecond).status, Status::kQueued);
  EXPECT_EQ(order(shadowed, OrderKind::kAskLow).result, OrderResult::kRehearsed);
  EXPECT_EQ(order(shadowed, OrderKind::kFail).result, OrderResult::kRehearsed);
  EXPECT_TRUE(nothing_pushed());
  Client tolerant = open();
  ASSERT_EQ(acquire_in(tolerant, kTolerant, "b").status, Status::kOk);
  EXPECT_EQ(order(tolerant, OrderKind::kAskLow, 8.0F).result, OrderResult::kBelowThreshold);
  EXPECT_EQ(order(tolerant, OrderKind::kAskLow, 9.5F).result, OrderResult::kDone);
}

TEST_F(EngineOrders, AFailingWaiterLetsALiveOneGoFirst) {
  Client holder = open();
  Client dead = open();
  Client live = open();
  ASSERT_EQ(acquire(dead, "b").status, Status::kOk);  // a holder, so that it can fail
  const Reply held = acquire(holder, "a");
  ASSERT_EQ(acquire(dead, "a", 30 * kSecond, Mode::kExclusive, 1).status, Status::kQueued);
  ASSERT_EQ(acquire(live, "a", 30 * kSecond).status, Status::kQueued);
  order(dead, OrderKind::kFail);
  release(holder, "a", held.token);
  Push push;
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_EQ(push.session, live.session);
  EXPECT_EQ(node_->gauges().passed_over.read(), 1U);
  release(live, "a", push.reply.token);
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_EQ(push.session, dead.session) << "with nobody else left it gets its turn";
}

TEST_F(EngineOrders, AnOrderForASessionThatIsGoneDoesNothing) {
  Client holder = open();
  const std::uint64_t id = node_->sessions().at(holder.session).id;
  send(holder, numbered(holder, Op::kClose, "", 0));
  EXPECT_EQ(
      node_
          ->obey({.session_id = id, .session = holder.session, .kind = OrderKind::kFail}, reading())
          .result,
      OrderResult::kNoSession);
  EXPECT_EQ(
      node_->obey({.session_id = id, .session = 1U << 30, .kind = OrderKind::kFail}, reading())
          .result,
      OrderResult::kNoSession);
}

}  // namespace
}  // namespace driftlock::test
