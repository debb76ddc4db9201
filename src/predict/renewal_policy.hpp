// RenewalPolicy: watches the sessions of one lcore for silence and strangeness, and says what to do
// about it, in increasing force: other lease terms, a request to renew at low priority, one at
// normal priority, failing. Owned by the predictor thread; orders go to the lcore by a ring, whose
// Engine decides what is allowed. Pure: time is an argument.
//
// A watch is kCalm until the silence is longer than an ordinary one of this client
// (AdaptiveLiveness, at the rate asked for) or its score passes the threshold. Anything heard makes
// it calm again. An order is never more than a question, but for kFail; and that, in the Engine,
// never breaks a promise. Terms: each client's short one is what its own record needs,
//   0.6 short = 1.5 worst lateness + 3 answer times + 2 floors
// since it renews at a third, give or take a tenth: the rest of the term is for being late. The
// long one grows by a quarter with every renewal of a steady client, to twice what it began with at
// most. In shadow the same is decided and nothing is done; what would have come of it is told by
// what the client does.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "src/base/token_bucket.hpp"
#include "src/lock/namespaces.hpp"
#include "src/lock/session_order.hpp"
#include "src/predict/adaptive_liveness.hpp"
#include "src/predict/profile.hpp"
#include "src/predict/score.hpp"

namespace driftlock {

struct RenewalOptions {
  PredictionMode mode = PredictionMode::kShadow;
  double silence_rate = 1e-3;  // an ordinary silence passes for suspicious once in 1/rate
  Nanoseconds floor_ns = 50 * kMillisecond;      // a silence so much longer than usual is ordinary
  Nanoseconds patience_ns = 100 * kMillisecond;  // with each request to renew, at least
  Nanoseconds term_min_ns = kSecond;
  Nanoseconds term_max_ns = 10 * kSecond;
  double client_per_second = 1.0;  // requests to renew, to one client
  double total_per_second = 1000.0;
  // With so many of at least self_clients in doubt at once the node is sick; and with so many
  // clients none fails before somebody else is heard of.
  float self_share = 0.5F;
  std::uint32_t self_clients = 8;
  Nanoseconds interval_ns = 25 * kMillisecond;  // between two turns
};

// What came of an action.
enum class RenewalOutcome : std::uint8_t {
  kAnswered,    // heard of before the patience was over
  kUnanswered,  // so the next step was due
  kRecovered,   // failing, and heard of before its lease ended: the alarm was false
  kExpired,     // failing, and its lease ran out: the alarm was right
  kGone,        // the session was closed meanwhile
  kDeclined,    // the Engine saw no reason: it holds nothing, or its namespaces want less
};
inline constexpr std::size_t kRenewalOutcomes = 6;
const char* to_string(RenewalOutcome outcome);
const char* to_string(OrderKind kind);

// One action and its outcome, for the log.
struct RenewalRecord {
  std::uint64_t session_id = 0;
  std::uint64_t client_id = 0;
  OrderKind action = OrderKind::kAskLow;
  RenewalOutcome outcome = RenewalOutcome::kAnswered;
  bool rehearsal = false;
  Nanoseconds silence_ns = 0;  // when the action was taken
  Nanoseconds took_ns = 0;     // from there to the outcome
  float strangeness = 0.0F;
  std::uint32_t revoked = 0;
};

struct RenewalSummary {
  // By action; [1]: rehearsed.
  std::array<std::array<std::uint64_t, 2>, kOrderKinds> actions{};
  std::array<std::array<std::uint64_t, kRenewalOutcomes>, kOrderKinds> outcomes{};
  std::uint64_t out_of_budget = 0;
  std::uint64_t self_suspicions = 0;  // times that it began
  std::uint64_t pauses = 0;           // the node's own, which are nobody else's silence
  std::uint64_t revoked = 0;          // locks that changed hands by the policy `fence`
  bool self_suspect = false;
  std::array<std::uint32_t, 4> stages{};  // sessions now, by stage
  double term_mean_s = 0.0;               // short terms of the sessions watched
};

class RenewalPolicy {
 public:
  RenewalPolicy(std::size_t sessions_max, const RenewalOptions& options);

  void set_mode(PredictionMode mode);
  [[nodiscard]] PredictionMode mode() const { return options_.mode; }

  // A look at every session, each interval_ns. send(const SessionOrder&) returns false where the
  // ring is full; the order is then thought to be lost.
  template <typename Send>
  void turn(const ProfileTable& profiles, Nanoseconds now_ns, const Send& send) {
    begin_turn(now_ns);
    ProfileGlance glance;
    for (std::size_t i = 0; i < watches_.size(); ++i) {
      look(i, profiles.glance(i, glance) ? &glance : nullptr, now_ns);
    }
    end_turn();
    for (const SessionOrder& order : orders_) static_cast<void>(send(order));
    orders_.clear();
  }
  // Of the last scoring, all sessions: who is doubtful is asked at the next turn.
  void take_scores(std::span<const ClientScore> scores);
  void take_outcome(const OrderOutcome& outcome, Nanoseconds now_ns);

  [[nodiscard]] const RenewalSummary& summary() const { return summary_; }
  [[nodiscard]] std::vector<RenewalRecord> take_records();
  [[nodiscard]] static std::size_t bytes_per_session() { return sizeof(Watch); }

 private:
  enum class Stage : std::uint8_t { kCalm, kAskedLow, kAskedNormal, kFailed };
  struct Watch {
    std::uint64_t session_id = 0;
    AdaptiveLiveness liveness;
    Nanoseconds heard_ns = 0;
    Nanoseconds decide_ns = kNever;  // when the silence says something next
    Nanoseconds acted_ns = 0;        // the last action
    Nanoseconds asked_ns = 0;        // the first of those unanswered
    Nanoseconds doubted_until_ns = 0;
    TokenBucket budget;
    float late_us = 0.0F;       // worst lateness, fading
    float answer_us = 0.0F;     // mean time to answer a request
    float strangeness = 0.0F;   // of the last action
    float score = 0.0F;         // strangeness by the last scoring, where that was suspect
    std::uint32_t base_us = 0;  // the term that it began with
    std::uint32_t short_us = 0;
    std::uint32_t long_us = 0;
    std::uint32_t heartbeats = 0;
    Nanoseconds counted_ns = 0;  // the last of them
    Stage stage = Stage::kCalm;
    bool rehearsal = false;
    bool terms_ordered = false;
  };

  void begin_turn(Nanoseconds now_ns);
  void end_turn();
  void look(std::size_t index, const ProfileGlance* glance, Nanoseconds now_ns);
  void begin_watch(Watch& watch, const ProfileGlance& glance);
  void hear(std::size_t index, const ProfileGlance& glance, Nanoseconds now_ns);
  void plan_decision(Watch& watch, Nanoseconds now_ns);
  void decide(std::size_t index, Nanoseconds now_ns);
  void act(std::size_t index, OrderKind kind, Nanoseconds now_ns);
  void close(Watch& watch, RenewalOutcome outcome, Nanoseconds now_ns, std::uint32_t revoked = 0);
  void review_terms(std::size_t index, Nanoseconds gap_ns, Nanoseconds term_ns, Nanoseconds now_ns);
  void order_terms(std::size_t index, std::uint32_t short_us, std::uint32_t long_us);
  [[nodiscard]] Nanoseconds patience_of(const Watch& watch) const;
  [[nodiscard]] float strangeness_of(const Watch& watch, Nanoseconds now_ns) const;

  RenewalOptions options_;
  std::vector<Watch> watches_;  // by session index
  std::vector<std::uint64_t> clients_;
  std::vector<SessionOrder> orders_;
  std::vector<RenewalRecord> records_;
  TokenBucket total_;
  RenewalSummary summary_;
  Nanoseconds turned_ns_ = kLongAgo;
  std::array<std::uint32_t, 4> counted_{};
  std::uint32_t watched_ = 0;  // sessions, when somebody was last heard of
  Nanoseconds watched_at_ns_ = 0;
  Nanoseconds anybody_ns_ = 0;  // somebody was heard of
  double terms_us_ = 0.0;
};

}  // namespace driftlock
