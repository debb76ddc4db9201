#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "src/predict/renewal_policy.hpp"

namespace driftlock {
namespace {

constexpr Nanoseconds kTerm = 5 * kSecond;
constexpr std::size_t kSessions = 16;

// Clients that renew at a third of their term, whatever it is, and a lcore that says done to all.
class RenewalPolicyTest : public ::testing::Test {
 protected:
  struct Client {
    bool lives = false;
    Nanoseconds next_ns = 0;
    Nanoseconds term_ns = kTerm;
    Nanoseconds lease_end_ns = 0;
    std::uint32_t terms_us = 0;
  };

  void add(std::uint32_t index) {
    clients_[index].lives = true;
    clients_[index].next_ns = now_ns_ + (index + 1) * 37 * kMillisecond;
  }
  void heartbeat(std::uint32_t index) {
    Client& client = clients_[index];
    if (client.terms_us != 0) client.term_ns = client.terms_us * kMicrosecond;
    client.lease_end_ns = now_ns_ + client.term_ns;
    client.next_ns = now_ns_ + client.term_ns / 3;
    Activity activity;
    activity.session_index = index;
    activity.session_id = 100 + index;
    activity.client_id = index;
    activity.op = wire::Op::kRenew;
    activity.received_tai_ns = now_ns_;
    activity.lease_end_ns = client.lease_end_ns;
    activity.term_ns = client.term_ns;
    recorder_.observe(activity);
  }
  void take(const SessionOrder& order) {
    orders_.push_back(order);
    Client& client = clients_[order.session];
    if (order.kind == OrderKind::kTerms) client.terms_us = order.long_us;
    const bool asks = order.kind == OrderKind::kAskLow || order.kind == OrderKind::kAskNormal;
    if (asks && client.lives && !order.rehearsal) client.next_ns = now_ns_ + kMillisecond;
    policy_.take_outcome({order.session_id, order.session, order.kind, OrderResult::kDone, 0},
                         now_ns_);
  }
  void pass(Nanoseconds duration_ns) {
    for (const Nanoseconds end = now_ns_ + duration_ns; now_ns_ < end;
         now_ns_ += 5 * kMillisecond) {
      for (auto& [index, client] : clients_) {
        if (client.lives && now_ns_ >= client.next_ns) heartbeat(index);
      }
      if (now_ns_ % (25 * kMillisecond) != 0) continue;
      policy_.turn(profiles_, now_ns_, [this](const SessionOrder& order) {
        take(order);
        return true;
      });
    }
  }
  [[nodiscard]] std::ptrdiff_t count(OrderKind kind) const {
    return std::count_if(orders_.begin(), orders_.end(),
                         [kind](const SessionOrder& order) { return order.kind == kind; });
  }
  [[nodiscard]] std::uint64_t outcome(OrderKind kind, RenewalOutcome outcome) const {
    return policy_.summary()
        .outcomes[static_cast<std::size_t>(kind)][static_cast<std::size_t>(outcome)];
  }
  static RenewalOptions acting() {
    RenewalOptions options;
    options.mode = PredictionMode::kAct;
    return options;
  }

  Nanoseconds now_ns_ = kSecond;
  std::map<std::uint32_t, Client> clients_;
  ProfileTable profiles_{kSessions};
  ProfileRecorder recorder_{profiles_};
  RenewalPolicy policy_{kSessions, acting()};
  std::vector<SessionOrder> orders_;
};

TEST_F(RenewalPolicyTest, ASilentHolderIsAskedTwiceThenFails) {
  for (std::uint32_t i = 0; i < 4; ++i) add(i);
  pass(60 * kSecond);
  clients_[2].lives = false;
  orders_.clear();
  pass(2 * kTerm);
  ASSERT_GE(orders_.size(), 3U);
  std::vector<OrderKind> kinds;
  for (const SessionOrder& order : orders_) {
    if (order.session == 2 && order.kind != OrderKind::kTerms) kinds.push_back(order.kind);
  }
  EXPECT_EQ(kinds, (std::vector{OrderKind::kAskLow, OrderKind::kAskNormal, OrderKind::kFail}));
  pass(3 * kTerm);
  EXPECT_EQ(outcome(OrderKind::kFail, RenewalOutcome::kExpired), 1U);
  EXPECT_EQ(outcome(OrderKind::kFail, RenewalOutcome::kRecovered), 0U);
}

TEST_F(RenewalPolicyTest, AnAnswerEndsTheDoubt) {
  for (std::uint32_t i = 0; i < 4; ++i) add(i);
  pass(60 * kSecond);
  orders_.clear();
  clients_[1].next_ns += 6 * kSecond;  // late, and then answers the first request
  pass(10 * kSecond);
  EXPECT_GE(count(OrderKind::kAskLow), 1);
  EXPECT_EQ(count(OrderKind::kAskNormal), 0);
  EXPECT_GE(outcome(OrderKind::kAskLow, RenewalOutcome::kAnswered), 1U);
}

TEST_F(RenewalPolicyTest, WhoFailsAndIsHeardOfAgainIsRestored) {
  for (std::uint32_t i = 0; i < 4; ++i) add(i);
  pass(20 * kSecond);
  clients_[2].lives = false;
  while (count(OrderKind::kFail) == 0) pass(100 * kMillisecond);
  clients_[2].lives = true;
  pass(kSecond);
  EXPECT_EQ(count(OrderKind::kRestore), 1);
  EXPECT_EQ(outcome(OrderKind::kFail, RenewalOutcome::kRecovered), 1U);
}

TEST_F(RenewalPolicyTest, SteadyClientsGetShortTermsWhereWantedAndLongOnesElse) {
  for (std::uint32_t i = 0; i < 4; ++i) add(i);
  pass(200 * kSecond);
  SessionOrder last;
  for (const SessionOrder& order : orders_) {
    if (order.kind == OrderKind::kTerms && order.session == 1) last = order;
  }
  EXPECT_EQ(last.short_us, 1'000'000U);
  EXPECT_GT(last.long_us, 9'000'000U);
  EXPECT_LE(last.long_us, 10'000'000U);
}

TEST_F(RenewalPolicyTest, WhoWasLateOftenGetsTheTermItNeeds) {
  for (std::uint32_t i = 0; i < 4; ++i) add(i);
  for (int i = 0; i < 12; ++i) {
    pass(8 * kSecond);
    clients_[3].next_ns += 2 * kSecond;
    clients_[3].lives = false;  // deaf as well: a stopped program answers nothing
    pass(2 * kSecond);
    clients_[3].lives = true;
  }
  SessionOrder late;
  SessionOrder steady;
  for (const SessionOrder& order : orders_) {
    if (order.kind != OrderKind::kTerms) continue;
    if (order.session == 3) late = order;
    if (order.session == 1) steady = order;
  }
  const std::uint32_t late_us = late.short_us != 0 ? late.short_us : 5'000'000U;
  EXPECT_GT(late_us, 3 * steady.short_us);
}

TEST_F(RenewalPolicyTest, WhenManyAreSilentAtOnceTheNodeSuspectsItself) {
  for (std::uint32_t i = 0; i < 12; ++i) add(i);
  pass(20 * kSecond);
  orders_.clear();
  for (auto& [index, client] : clients_) client.lives = false;
  bool suspected = false;
  for (int i = 0; i < 90; ++i) {
    pass(100 * kMillisecond);
    suspected = suspected || policy_.summary().self_suspect;
  }
  EXPECT_TRUE(suspected);
  EXPECT_EQ(count(OrderKind::kFail), 0);
}

TEST_F(RenewalPolicyTest, ItsOwnPauseIsNobodysSilence) {
  for (std::uint32_t i = 0; i < 4; ++i) add(i);
  pass(20 * kSecond);
  orders_.clear();
  now_ns_ += 2 * kSecond;  // the machine was away, the clients' datagrams are about to be read
  pass(kSecond);
  EXPECT_EQ(policy_.summary().pauses, 1U);
  EXPECT_EQ(count(OrderKind::kAskLow), 0);
}

TEST_F(RenewalPolicyTest, ShadowRecordsWhatItWouldHaveDone) {
  policy_.set_mode(PredictionMode::kShadow);
  for (std::uint32_t i = 0; i < 4; ++i) add(i);
  pass(30 * kSecond);
  clients_[2].lives = false;
  orders_.clear();
  pass(3 * kTerm);
  EXPECT_TRUE(std::all_of(orders_.begin(), orders_.end(),
                          [](const SessionOrder& order) { return order.rehearsal; }));
  EXPECT_EQ(outcome(OrderKind::kFail, RenewalOutcome::kExpired), 1U);
  bool logged = false;
  for (const RenewalRecord& record : policy_.take_records()) {
    logged = logged || (record.rehearsal && record.action == OrderKind::kFail &&
                        record.outcome == RenewalOutcome::kExpired && record.session_id == 102);
  }
  EXPECT_TRUE(logged);
}

TEST_F(RenewalPolicyTest, TheKillSwitchTakesBackWhatIsInForce) {
  for (std::uint32_t i = 0; i < 4; ++i) add(i);
  pass(60 * kSecond);
  orders_.clear();
  policy_.set_mode(PredictionMode::kOff);
  pass(10 * kSecond);
  EXPECT_EQ(orders_.size(), 4U);
  for (const SessionOrder& order : orders_) {
    EXPECT_EQ(order.kind, OrderKind::kTerms);
    EXPECT_EQ(order.short_us, 0U);
  }
}

TEST_F(RenewalPolicyTest, AClientsBudgetBoundsTheRequests) {
  RenewalOptions options = acting();
  options.client_per_second = 0.1;
  policy_ = RenewalPolicy(kSessions, options);
  for (std::uint32_t i = 0; i < 4; ++i) add(i);
  pass(20 * kSecond);
  orders_.clear();
  std::vector<ClientScore> scores(1);
  scores[0] = {
      .session_id = 101, .client_id = 1, .index = 1, .strangeness = 12.0F, .suspect = true};
  for (int i = 0; i < 100; ++i) {
    policy_.take_scores(scores);
    pass(100 * kMillisecond);
  }
  EXPECT_GE(count(OrderKind::kAskLow), 4);
  EXPECT_LE(count(OrderKind::kAskLow), 6);
  EXPECT_GT(policy_.summary().out_of_budget, 0U);
}

}  // namespace
}  // namespace driftlock
