// Grants in advance: never two holders, whatever the session does with them.
#include "tests/unit/engine_fixture.hpp"

namespace driftlock::test {
namespace {

class Advances : public EngineFixture {
 protected:
  Advances() {
    EngineOptions options = small_options();
    options.advances_max = 4;
    options.lock_events_max = 64;
    options.namespaces = {{.id = 0, .advance_hit_min = 0.9}};
    restart(options);
    likely_ = open_taking();
    other_ = open();
  }
  Client open_taking() {
    wire::OpenRequest request;
    request.client_nonce[0] = ++nonces_;
    request.slots = 4;
    request.flags = wire::kTakesAdvances;
    request.cookie = open_raw(request).cookie;
    Client client;
    client.session = node_->sessions().find(open_raw(request).session_id);
    return client;
  }
  bool advance(const Client& client, const std::string& key, Nanoseconds term_ns = kSecond) {
    const LockName name{0, {reinterpret_cast<const std::uint8_t*>(key.data()), key.size()}};
    return node_->grant_in_advance(node_->locks().hash(name), name, client.session, term_ns,
                                   reading());
  }
  // The grant in advance as its session would see it.
  std::uint64_t taken(const std::string& key) {
    Push push;
    EXPECT_TRUE(node_->next_push(push));
    EXPECT_EQ(push.reply.op, Op::kAdvance);
    EXPECT_EQ(push.more_count, 1U);
    EXPECT_EQ(push.more[0].body[3], key.size());
    EXPECT_EQ(
        std::string(push.more[0].body.begin() + 4, push.more[0].body.begin() + 4 + key.size()),
        key);
    return push.reply.token;
  }
  Reply say(Client& client, Op op, const std::string& key, std::uint64_t token, int slot = 0) {
    Request request = numbered(client, op, key, slot);
    request.argument = token;
    return send(client, request);
  }

  Client likely_;
  Client other_;
};

TEST_F(Advances, AreUsedAndReleasedWithoutAsking) {
  ASSERT_TRUE(advance(likely_, "k"));
  const std::uint64_t token = taken("k");
  EXPECT_EQ(query(other_, "k").holders, 0U);
  EXPECT_EQ(release(likely_, "k", token).status, Status::kOk);
  EXPECT_EQ(node_->gauges().advances_used.read(), 1U);
  const Reply next = acquire(other_, "k");
  EXPECT_EQ(next.status, Status::kOk);
  EXPECT_GT(next.token, token);
}

TEST_F(Advances, AreForSessionsThatTakeThemOnly) {
  EXPECT_FALSE(advance(other_, "k"));
  EXPECT_TRUE(nothing_pushed());
}

TEST_F(Advances, AreForFreeLocksOnly) {
  acquire(other_, "k");
  EXPECT_FALSE(advance(likely_, "k"));
}

TEST_F(Advances, AreHadByAskingToo) {
  ASSERT_TRUE(advance(likely_, "k"));
  const std::uint64_t token = taken("k");
  const Reply reply = acquire(likely_, "k");
  EXPECT_EQ(reply.status, Status::kOk);
  EXPECT_EQ(reply.token, token);
  EXPECT_EQ(acquire(other_, "k").status, Status::kBusy);
  EXPECT_EQ(release(likely_, "k", token).status, Status::kOk);
  EXPECT_EQ(acquire(other_, "k", 0, Mode::kExclusive, 1).status, Status::kOk);
}

TEST_F(Advances, BecomeSharedWhereThatIsAskedFor) {
  ASSERT_TRUE(advance(likely_, "k"));
  taken("k");
  EXPECT_EQ(acquire(likely_, "k", 0, Mode::kShared).status, Status::kOk);
  EXPECT_EQ(acquire(other_, "k", 0, Mode::kShared).status, Status::kOk);
}

TEST_F(Advances, AreCalledBackWhenAnotherAsks) {
  ASSERT_TRUE(advance(likely_, "k"));
  const std::uint64_t token = taken("k");
  EXPECT_EQ(acquire(other_, "k", kSecond).status, Status::kQueued);
  Push push;
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_EQ(push.reply.op, Op::kRecall);
  EXPECT_EQ(std::uint64_t{push.reply.token}, token);
  EXPECT_EQ(say(likely_, Op::kRecall, "k", token).status, Status::kOk);
  const Reply granted = pushed();
  EXPECT_EQ(granted.status, Status::kOk);
  EXPECT_GT(granted.token, token);
  // What was given back is nobody's any more.
  EXPECT_EQ(release(likely_, "k", token).status, Status::kNotHeld);
  EXPECT_EQ(say(likely_, Op::kAdvance, "k", token).status, Status::kNotHeld);
}

TEST_F(Advances, AreCalledBackAgainUntilAnAnswerComes) {
  ASSERT_TRUE(advance(likely_, "k"));
  taken("k");
  acquire(other_, "k", 10 * kSecond);
  EXPECT_EQ(pushed().op, Op::kRecall);
  pass(100 * kMillisecond);
  EXPECT_EQ(pushed().op, Op::kRecall);
}

// A try is not told `busy` of a lock that nobody uses.
TEST_F(Advances, ATryWaitsForTheAnswer) {
  ASSERT_TRUE(advance(likely_, "k"));
  const std::uint64_t token = taken("k");
  EXPECT_EQ(acquire(other_, "k").status, Status::kQueued);
  EXPECT_EQ(pushed().op, Op::kRecall);
  EXPECT_EQ(say(likely_, Op::kRecall, "k", token).status, Status::kOk);
  EXPECT_EQ(pushed().status, Status::kOk);
}

TEST_F(Advances, ATryIsToldBusyOnceItIsKnownToBeUsed) {
  ASSERT_TRUE(advance(likely_, "k"));
  const std::uint64_t token = taken("k");
  acquire(other_, "k");
  EXPECT_EQ(pushed().op, Op::kRecall);
  const Reply kept = say(likely_, Op::kAdvance, "k", token);
  EXPECT_EQ(kept.status, Status::kOk);
  EXPECT_EQ(kept.token, token);
  EXPECT_EQ(pushed().status, Status::kBusy);
  EXPECT_EQ(query(other_, "k").holders, 1U);
  EXPECT_EQ(release(likely_, "k", token).status, Status::kOk);
}

TEST_F(Advances, EndByThemselves) {
  ASSERT_TRUE(advance(likely_, "k", 300 * kMillisecond));
  const std::uint64_t token = taken("k");
  EXPECT_EQ(acquire(other_, "k", 10 * kSecond).status, Status::kQueued);
  EXPECT_EQ(pushed().op, Op::kRecall);
  pass(250 * kMillisecond);
  Push push;
  while (node_->next_push(push)) EXPECT_EQ(push.reply.op, Op::kRecall);
  pass(200 * kMillisecond);
  bool granted = false;
  while (node_->next_push(push)) granted = granted || push.reply.op == Op::kAcquire;
  EXPECT_TRUE(granted);
  EXPECT_EQ(node_->gauges().advances_expired.read(), 1U);
  EXPECT_EQ(release(likely_, "k", token).status, Status::kNotHeld);
}

TEST_F(Advances, ThatAreKeptOutlastTheirEnd) {
  ASSERT_TRUE(advance(likely_, "k", 300 * kMillisecond));
  const std::uint64_t token = taken("k");
  EXPECT_EQ(say(likely_, Op::kAdvance, "k", token).status, Status::kOk);
  pass(kSecond);
  EXPECT_EQ(acquire(other_, "k").status, Status::kBusy);
  EXPECT_EQ(release(likely_, "k", token).status, Status::kOk);
}

TEST_F(Advances, NeverEndAfterTheLease) {
  ASSERT_TRUE(advance(likely_, "k", 100 * kSecond));
  Push push;
  ASSERT_TRUE(node_->next_push(push));
  EXPECT_LE(Nanoseconds{push.reply.lease_end_ns},
            node_->sessions().at(likely_.session).lease_end_ns);
}

TEST_F(Advances, EndWithTheirSession) {
  ASSERT_TRUE(advance(likely_, "k"));
  taken("k");
  EXPECT_EQ(send(likely_, numbered(likely_, Op::kClose, "", 0)).status, Status::kOk);
  node_->advance(reading());
  EXPECT_EQ(acquire(other_, "k").status, Status::kOk);
  EXPECT_EQ(node_->gauges().advances.read(), 0U);
}

TEST_F(Advances, AreGivenUpForAGroup) {
  ASSERT_TRUE(advance(likely_, "k"));
  taken("k");
  const GroupReply group = acquire_group(likely_, {"j", "k"});
  EXPECT_EQ(group.reply.status, Status::kOk);
  EXPECT_EQ(node_->gauges().advances.read(), 0U);
}

TEST_F(Advances, NoneWhileTheClockIsLost) {
  clock_state_ = ClockState::kLost;
  EXPECT_FALSE(advance(likely_, "k"));
}

TEST_F(Advances, AreAsManyAsThereIsRoomFor) {
  for (const char* key : {"a", "b", "c", "d"}) EXPECT_TRUE(advance(likely_, key));
  EXPECT_FALSE(advance(likely_, "e"));
  EXPECT_EQ(node_->locks().locks_in_use(), 4U);
}

TEST_F(Advances, EventsTellWhoCameFirst) {
  const auto next = [this] {
    LockEvent event;
    EXPECT_TRUE(node_->next_event(event));
    return event;
  };
  ASSERT_TRUE(advance(likely_, "k"));
  const std::uint64_t token = taken("k");
  acquire(other_, "k", kSecond);  // told of only once it is known who came first
  Request request = numbered(likely_, Op::kRelease, "k", 0);
  request.argument = token;
  request.flags = wire::kUsedInAdvance;
  request.set_used_after_us(0x12345);
  EXPECT_EQ(send(likely_, request).status, Status::kOk);
  const LockEvent used = next();
  EXPECT_EQ(used.kind, LockEvent::Kind::kUsed);
  EXPECT_EQ(used.span_ns, 0x12345 * kMicrosecond);
  const LockEvent asked = next();
  EXPECT_EQ(asked.kind, LockEvent::Kind::kAsked);
  EXPECT_EQ(asked.session, other_.session);
  EXPECT_EQ(next().kind, LockEvent::Kind::kReleased);
  EXPECT_EQ(next().kind, LockEvent::Kind::kGranted);
}

TEST_F(Advances, AFreedLockIsNamed) {
  const Reply held = acquire(other_, "key");
  release(other_, "key", held.token);
  LockEvent event;
  LockEvent last;
  while (node_->next_event(event)) last = event;
  EXPECT_EQ(last.kind, LockEvent::Kind::kFreed);
  EXPECT_EQ(std::string(last.key.begin(), last.key.begin() + last.key_length), "key");
}

}  // namespace
}  // namespace driftlock::test
