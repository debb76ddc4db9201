#include "src/predict/renewal_policy.hpp"

#include <algorithm>
#include <cmath>

namespace driftlock {
namespace {

constexpr std::uint32_t kProving = 8;  // heartbeats before anything is concluded from them
constexpr float kShrinkMost = 0.7F;    // of a term, from one renewal to the next
constexpr float kGrowth = 1.25F;
constexpr float kLongest = 2.0F;     // times the term that it began with
constexpr float kForTheLate = 0.6F;  // of a term: it is renewed at a third, give or take a tenth
constexpr double kLateHalfLifeS = 600.0;
constexpr Nanoseconds kDoubtLastsNs = 30 * kSecond;
constexpr double kClientBurst = 4.0;
constexpr std::size_t kRecordsMax = 4096;
constexpr float kAnswerWeight = 0.25F;

float us(Nanoseconds duration_ns) {
  return static_cast<float>(duration_ns) / 1e3F;
}
Nanoseconds ns(double duration_us) {
  return static_cast<Nanoseconds>(duration_us * 1e3);
}

}  // namespace

const char* to_string(RenewalOutcome outcome) {
  constexpr std::array<const char*, kRenewalOutcomes> kNames = {
      "answered", "unanswered", "recovered", "expired", "gone", "declined"};
  return kNames[static_cast<std::size_t>(outcome)];
}

const char* to_string(OrderKind kind) {
  constexpr std::array<const char*, kOrderKinds> kNames = {"terms", "ask_low", "ask_normal", "fail",
                                                           "restore"};
  return kNames[static_cast<std::size_t>(kind)];
}

RenewalPolicy::RenewalPolicy(std::size_t sessions_max, const RenewalOptions& options)
    : options_(options), watches_(sessions_max), clients_(sessions_max) {}

// Leaving `act` takes back what is in force: the client's own term counts again.
void RenewalPolicy::set_mode(PredictionMode mode) {
  if (mode == options_.mode) return;
  for (std::size_t i = 0; i < watches_.size(); ++i) {
    Watch& watch = watches_[i];
    const auto index = static_cast<std::uint32_t>(i);
    if (watch.terms_ordered) {
      orders_.push_back({.session_id = watch.session_id, .session = index});
    }
    if (watch.stage == Stage::kFailed && !watch.rehearsal) {
      orders_.push_back(
          {.session_id = watch.session_id, .session = index, .kind = OrderKind::kRestore});
    }
    watch = Watch{};
  }
  options_.mode = mode;
}

// The node's own pause, such as a moved virtual machine, is nobody else's silence.
void RenewalPolicy::begin_turn(Nanoseconds now_ns) {
  const Nanoseconds away_ns = turned_ns_ == kLongAgo ? 0 : now_ns - turned_ns_;
  if (away_ns > 4 * options_.interval_ns + options_.patience_ns) {
    ++summary_.pauses;
    for (Watch& watch : watches_) {
      if (watch.decide_ns == kNever) continue;
      watch.decide_ns = std::max(watch.decide_ns, now_ns) + options_.patience_ns;
    }
  }
  turned_ns_ = now_ns;
  counted_ = {};
  terms_us_ = 0.0;
}

void RenewalPolicy::end_turn() {
  const std::uint32_t calm = counted_[0];
  std::uint32_t all = 0;
  for (const std::uint32_t count : counted_) all += count;
  // While nobody is heard of, leases that run out do not make the node any healthier.
  watched_ = anybody_ns_ > watched_at_ns_ ? all : std::max(watched_, all);
  watched_at_ns_ = anybody_ns_;
  summary_.stages = counted_;
  summary_.term_mean_s = all > 0 ? terms_us_ / all / 1e6 : 0.0;
  const bool sick = all >= options_.self_clients &&
                    static_cast<float>(all - calm) >= options_.self_share * static_cast<float>(all);
  if (sick && !summary_.self_suspect) ++summary_.self_suspicions;
  summary_.self_suspect = sick;
}

void RenewalPolicy::look(std::size_t index, const ProfileGlance* glance, Nanoseconds now_ns) {
  if (options_.mode == PredictionMode::kOff) return;
  Watch& watch = watches_[index];
  const bool other = glance == nullptr || glance->session_id != watch.session_id;
  if (other && watch.session_id != 0) {
    // What is over is told by the lease: a session that was closed, or whose place another has.
    close(watch, RenewalOutcome::kGone, now_ns);
    watch = Watch{};
  }
  if (glance == nullptr || glance->term_ns == 0) return;
  if (watch.session_id == 0) {
    if (glance->lease_end_ns < now_ns) return;  // over before it was seen
    begin_watch(watch, *glance);
    clients_[index] = glance->client_id;
  }
  if (glance->last_tai_ns > watch.heard_ns) hear(index, *glance, now_ns);
  if (glance->lease_end_ns < now_ns) {
    close(watch, RenewalOutcome::kExpired, now_ns);
    watch.decide_ns = kNever;
    return;  // not counted: it is no longer anybody's holder
  }
  if (now_ns >= watch.decide_ns) decide(index, now_ns);
  ++counted_[static_cast<std::size_t>(watch.stage)];
  terms_us_ += watch.short_us;
}

void RenewalPolicy::begin_watch(Watch& watch, const ProfileGlance& glance) {
  watch = Watch{};
  watch.session_id = glance.session_id;
  watch.liveness = AdaptiveLiveness(options_.floor_ns);
  watch.base_us = static_cast<std::uint32_t>(glance.term_ns / kMicrosecond);
  watch.short_us = watch.long_us = watch.base_us;
}

void RenewalPolicy::hear(std::size_t index, const ProfileGlance& glance, Nanoseconds now_ns) {
  Watch& watch = watches_[index];
  const Nanoseconds gap_ns = watch.heard_ns == 0 ? 0 : glance.last_tai_ns - watch.heard_ns;
  watch.heard_ns = glance.last_tai_ns;
  watch.liveness.arrived(glance.last_tai_ns);
  anybody_ns_ = std::max(anybody_ns_, glance.last_tai_ns);
  if (watch.stage != Stage::kCalm) {
    const float took_us = us(std::max<Nanoseconds>(glance.last_tai_ns - watch.acted_ns, 0));
    watch.answer_us += kAnswerWeight * (took_us - watch.answer_us);
    const bool failed = watch.stage == Stage::kFailed;
    if (failed && !watch.rehearsal) {
      orders_.push_back({.session_id = watch.session_id,
                         .session = static_cast<std::uint32_t>(index),
                         .kind = OrderKind::kRestore});
      ++summary_.actions[static_cast<std::size_t>(OrderKind::kRestore)][0];
    }
    close(watch, failed ? RenewalOutcome::kRecovered : RenewalOutcome::kAnswered, now_ns);
  }
  if (gap_ns > 0) review_terms(index, gap_ns, glance.term_ns, now_ns);
  plan_decision(watch, now_ns);
}

void RenewalPolicy::plan_decision(Watch& watch, Nanoseconds now_ns) {
  const Nanoseconds at_ns = watch.liveness.suspect_at(options_.silence_rate);
  watch.decide_ns =
      at_ns == kNever ? kNever : std::max(at_ns, saturating_add(watch.heard_ns, options_.floor_ns));
  if (watch.score > 0.0F) watch.decide_ns = now_ns;
}

// The action under way has come to an end.
void RenewalPolicy::close(Watch& watch, RenewalOutcome outcome, Nanoseconds now_ns,
                          std::uint32_t revoked) {
  if (watch.stage == Stage::kCalm) return;
  const OrderKind action = watch.stage == Stage::kAskedLow      ? OrderKind::kAskLow
                           : watch.stage == Stage::kAskedNormal ? OrderKind::kAskNormal
                                                                : OrderKind::kFail;
  ++summary_.outcomes[static_cast<std::size_t>(action)][static_cast<std::size_t>(outcome)];
  if (records_.size() < kRecordsMax) {
    const auto index = static_cast<std::size_t>(&watch - watches_.data());
    records_.push_back({watch.session_id, clients_[index], action, outcome, watch.rehearsal,
                        watch.acted_ns - watch.heard_ns, now_ns - watch.acted_ns, watch.strangeness,
                        revoked});
  }
  watch.stage = Stage::kCalm;
}

void RenewalPolicy::decide(std::size_t index, Nanoseconds now_ns) {
  Watch& watch = watches_[index];
  if (watch.stage == Stage::kFailed) {
    watch.decide_ns = kNever;  // the lease's end, or a word of the client's, tells
    return;
  }
  if (summary_.self_suspect) {
    watch.decide_ns = now_ns + options_.patience_ns;
    return;
  }
  switch (watch.stage) {
    case Stage::kCalm:
      if (!watch.budget.take(now_ns, options_.client_per_second, kClientBurst) ||
          !total_.take(now_ns, options_.total_per_second, options_.total_per_second)) {
        ++summary_.out_of_budget;
        watch.decide_ns = now_ns + options_.patience_ns;
        return;
      }
      return act(index, OrderKind::kAskLow, now_ns);
    case Stage::kAskedLow:
      close(watch, RenewalOutcome::kUnanswered, now_ns);
      return act(index, OrderKind::kAskNormal, now_ns);
    case Stage::kAskedNormal:
      if (watched_ >= options_.self_clients && anybody_ns_ <= watch.asked_ns) {
        watch.decide_ns = now_ns + options_.interval_ns;  // is it the node that hears nobody?
        return;
      }
      close(watch, RenewalOutcome::kUnanswered, now_ns);
      return act(index, OrderKind::kFail, now_ns);
    case Stage::kFailed:
      return;
  }
}

void RenewalPolicy::act(std::size_t index, OrderKind kind, Nanoseconds now_ns) {
  Watch& watch = watches_[index];
  watch.rehearsal =
      options_.mode != PredictionMode::kAct || (kind != OrderKind::kAskLow && watch.rehearsal);
  watch.strangeness = std::max(watch.score, strangeness_of(watch, now_ns));
  watch.score = 0.0F;
  watch.acted_ns = now_ns;
  watch.doubted_until_ns = now_ns + kDoubtLastsNs;
  if (kind == OrderKind::kAskLow) watch.asked_ns = now_ns;
  watch.stage = kind == OrderKind::kAskLow      ? Stage::kAskedLow
                : kind == OrderKind::kAskNormal ? Stage::kAskedNormal
                                                : Stage::kFailed;
  watch.decide_ns = now_ns + patience_of(watch);
  ++summary_.actions[static_cast<std::size_t>(kind)][watch.rehearsal ? 1 : 0];
  orders_.push_back({.session_id = watch.session_id,
                     .session = static_cast<std::uint32_t>(index),
                     .kind = kind,
                     .rehearsal = watch.rehearsal,
                     .strangeness = watch.strangeness});
}

// What the client has needed before, it may need again.
Nanoseconds RenewalPolicy::patience_of(const Watch& watch) const {
  const double own_us = std::max(3.0 * static_cast<double>(watch.answer_us),
                                 0.75 * static_cast<double>(watch.late_us));
  return std::max(options_.patience_ns, ns(own_us)) + options_.interval_ns;
}

// In steps of half a decade, which is as finely as thresholds are meant.
float RenewalPolicy::strangeness_of(const Watch& watch, Nanoseconds now_ns) const {
  double rate = options_.silence_rate;
  const double step = std::sqrt(0.1);
  if (watch.liveness.suspect_at(rate) > now_ns) return 0.0F;
  for (int i = 0; i < 12 && watch.liveness.suspect_at(rate * step) <= now_ns; ++i) rate *= step;
  return static_cast<float>(-std::log(rate));
}

void RenewalPolicy::take_outcome(const OrderOutcome& outcome, Nanoseconds now_ns) {
  if (outcome.session >= watches_.size()) return;
  Watch& watch = watches_[outcome.session];
  if (watch.session_id != outcome.session_id || outcome.kind == OrderKind::kTerms ||
      outcome.kind == OrderKind::kRestore || watch.stage == Stage::kCalm) {
    return;
  }
  summary_.revoked += outcome.revoked;
  if (outcome.revoked > 0 && records_.size() < kRecordsMax) {
    records_.push_back({watch.session_id, clients_[outcome.session], OrderKind::kFail,
                        RenewalOutcome::kUnanswered, false, watch.acted_ns - watch.heard_ns, 0,
                        watch.strangeness, outcome.revoked});
  }
  if (outcome.result == OrderResult::kRehearsed) watch.rehearsal = true;
  if (outcome.result == OrderResult::kNoSession || outcome.result == OrderResult::kNotHolder ||
      outcome.result == OrderResult::kBelowThreshold) {
    close(watch, RenewalOutcome::kDeclined, now_ns);
    // Nobody suffers yet; it may be asked to wait, or its silence grow.
    watch.decide_ns = now_ns + std::max(kSecond, 4 * options_.patience_ns);
  }
}

void RenewalPolicy::take_scores(std::span<const ClientScore> scores) {
  if (options_.mode == PredictionMode::kOff) return;
  for (const ClientScore& score : scores) {
    if (!score.suspect || score.index >= watches_.size()) continue;
    Watch& watch = watches_[score.index];
    if (watch.session_id != score.session_id || watch.stage != Stage::kCalm) continue;
    watch.score = std::max(score.strangeness, 1e-3F);
    watch.decide_ns = std::min(watch.decide_ns, turned_ns_);
  }
}

void RenewalPolicy::review_terms(std::size_t index, Nanoseconds gap_ns, Nanoseconds term_ns,
                                 Nanoseconds now_ns) {
  Watch& watch = watches_[index];
  const float late_us = us(gap_ns) - 0.37F * us(term_ns) - us(options_.interval_ns);
  watch.late_us *=
      static_cast<float>(std::exp2(-static_cast<double>(gap_ns) / 1e9 / kLateHalfLifeS));
  watch.late_us = std::max(watch.late_us, late_us);
  // Requests closer together than a renewal's pace count as one.
  if (watch.heard_ns - watch.counted_ns < term_ns / 4) return;
  watch.counted_ns = watch.heard_ns;
  if (++watch.heartbeats < kProving) return;
  const float need_us =
      (1.5F * watch.late_us + 3.0F * watch.answer_us + 2.0F * us(options_.floor_ns)) / kForTheLate;
  const auto base = static_cast<float>(watch.base_us);
  const float least = std::min(us(options_.term_min_ns), base);
  const float target_us = std::clamp(need_us, least, base);
  const float short_us = std::max(target_us, kShrinkMost * static_cast<float>(watch.short_us));
  float long_us = std::max(short_us, base);
  if (now_ns < watch.doubted_until_ns) {
    long_us = short_us;
  } else if (late_us < 0.25F * us(term_ns)) {
    const float most = std::max(std::min(us(options_.term_max_ns), kLongest * base), base);
    long_us = std::max(long_us, std::min(kGrowth * static_cast<float>(watch.long_us), most));
  }
  order_terms(index, static_cast<std::uint32_t>(short_us), static_cast<std::uint32_t>(long_us));
}

void RenewalPolicy::order_terms(std::size_t index, std::uint32_t short_us, std::uint32_t long_us) {
  Watch& watch = watches_[index];
  const auto near = [](std::uint32_t a, std::uint32_t b) {
    return std::fabs(static_cast<float>(a) - static_cast<float>(b)) < 0.05F * static_cast<float>(b);
  };
  if (near(short_us, watch.short_us) && near(long_us, watch.long_us)) return;
  watch.short_us = short_us;
  watch.long_us = long_us;
  const bool rehearsal = options_.mode != PredictionMode::kAct;
  ++summary_.actions[static_cast<std::size_t>(OrderKind::kTerms)][rehearsal ? 1 : 0];
  if (rehearsal) return;
  watch.terms_ordered = true;
  orders_.push_back({.session_id = watch.session_id,
                     .session = static_cast<std::uint32_t>(index),
                     .kind = OrderKind::kTerms,
                     .short_us = short_us,
                     .long_us = long_us});
}

std::vector<RenewalRecord> RenewalPolicy::take_records() {
  std::vector<RenewalRecord> records;
  records.swap(records_);
  return records;
}

}  // namespace driftlock
