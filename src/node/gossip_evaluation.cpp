// GossipThread, the judging half: what the clocks say together, and what follows for this one.
#include <algorithm>
#include <cmath>

#include "hw/tick_counter.hpp"
#include "src/node/gossip_thread.hpp"
#include "src/node/log.hpp"

namespace driftlock {
namespace {

constexpr Nanoseconds kAlertHeard = 3 * kSecond;  // an alert counts for so long
constexpr Nanoseconds kAlertAgain = kSecond;
constexpr std::uint32_t kTransitSamples = 8;

bool accused(SourceVerdict verdict) {
  return verdict == SourceVerdict::kFalse || verdict == SourceVerdict::kImprobable;
}

gossip::Reason reason_of(SourceVerdict verdict) {
  return verdict == SourceVerdict::kFalse ? gossip::Reason::kIntervals : gossip::Reason::kEstimate;
}

}  // namespace

void GossipThread::evaluate() {
  const LocalNow now = now_at(read_ticks());
  std::vector<FusionSource> sources;
  gossip_.sources(now, sources);
  const Fused fused = fuse(sources, gossip_.faulty_max());
  const SkewEvidence evidence = weigh(now, sources, fused);
  adjustment_.look(evidence, owns_.load(), now.local_ns);
  may_take_.store(adjustment_.may_take_ownership());
  hands_over_.store(adjustment_.hands_over());
  guard_ns_.store(adjustment_.guard_ns());
  publish(now, fused, evidence);
  tell_changes(now);
  accuse(now, sources, fused);
  write_report(now, sources, fused, evidence);
}

// This node is the first source. Two nodes that contradict each other cannot tell who is wrong.
SkewEvidence GossipThread::weigh(const LocalNow& now, const std::vector<FusionSource>& sources,
                                 const Fused& fused) {
  SkewEvidence evidence;
  evidence.faulty_max = fused.faulty_allowed;
  look_at_clients(now, evidence);
  for (const HeardAlert& alert : gossip_.alerts()) {
    const bool counts = alert.subject == options_.self && alert.stage != gossip::Stage::kNormal &&
                        now.local_ns - alert.local_ns < kAlertHeard;
    evidence.accusers += counts ? 1 : 0;
  }
  if (fused.voters < 2 || fused.verdicts[0] == SourceVerdict::kSilent) return evidence;
  if (!fused.valid) {
    evidence.outside = fused.faulty_allowed == 0 || fused.voters > 2 * fused.faulty_allowed;
    evidence.offset_ns = fused.hard.half_width();
    return evidence;
  }
  std::size_t agreeing = 0;
  for (std::size_t i = 1; i < sources.size(); ++i) {
    agreeing += fused.verdicts[i] == SourceVerdict::kUsed ? 1 : 0;
  }
  evidence.enough = agreeing > fused.faulty_allowed;
  evidence.outside = fused.verdicts[0] == SourceVerdict::kFalse;
  evidence.improbable = fused.verdicts[0] == SourceVerdict::kImprobable;
  evidence.offset_ns = sources[0].estimate_ns - fused.estimate_ns;
  evidence.offset_sigma_ns = std::hypot(sources[0].sigma_ns, fused.sigma_ns);
  return evidence;
}

// A client's requests arrive at least as long after they were sent as the way takes: the least of
// them tells how far the two clocks are apart. The median of many is not one client's fault.
void GossipThread::look_at_clients(const LocalNow& now, SkewEvidence& evidence) {
  if (profiles_ != nullptr &&
      (clients_looked_ns_ == kLongAgo || now.local_ns - clients_looked_ns_ >= kSecond)) {
    clients_looked_ns_ = now.local_ns;
    std::vector<Nanoseconds> floors;
    for (std::size_t i = 0; i < profiles_->size(); ++i) {
      profiles_->read(i, [&](const ClientProfile& profile) {
        if (profile.transit_samples >= kTransitSamples) floors.push_back(profile.transit_floor_ns);
      });
    }
    clients_ = {};
    clients_.clients = floors.size();
    if (!floors.empty()) {
      const auto middle = floors.begin() + static_cast<std::ptrdiff_t>(floors.size() / 2);
      std::nth_element(floors.begin(), middle, floors.end());
      clients_.client_offset_ns = *middle;
    }
  }
  evidence.clients = clients_.clients;
  evidence.client_offset_ns = clients_.client_offset_ns;
  const Nanoseconds own =
      now.clock.state == ClockState::kLost ? kNever : now.clock.tai.half_width();
  evidence.client_error_ns = saturating_add(own, std::llround(client_error_ns_));
}

void GossipThread::publish(const LocalNow& now, const Fused& fused, const SkewEvidence& evidence) {
  ClockMargin margin;
  margin.suspected = adjustment_.stage() != gossip::Stage::kNormal;
  margin.guard_ns = adjustment_.guard_ns();
  // Alone there is nothing to widen by; before enough is known, nothing that would hold.
  margin.known = (fused.voters >= 2 && (fused.valid || evidence.outside)) || margin.suspected;
  if (!margin.known) return;
  margin.ticks = ticks_begin_ + static_cast<std::uint64_t>(
                                    static_cast<double>(now.local_ns - kSecond) / ns_per_tick_);
  margin.tai = fused.voters >= 2 ? fused.hard : now.clock.tai;
  margin.estimate_ns = fused.estimate_ns;
  margin.estimate_good =
      fused.valid && (margin.suspected ? evidence.enough
                                       : fused.sigma_ns < static_cast<double>(now.clock.sigma_ns));
  margin.min_rate = now.rate.least * ns_per_tick_;
  margin.max_rate = now.rate.most * ns_per_tick_;
  margin_.store(margin);
}

void GossipThread::tell_changes(const LocalNow& now) {
  AdjustmentChange change;
  while (adjustment_.take_change(change)) {
    log_line(change.to == gossip::Stage::kNormal ? LogLevel::kInfo : LogLevel::kWarning,
             "clock adjustment",
             {{"stage", gossip::to_string(change.to)},
              {"was", gossip::to_string(change.from)},
              {"reason", gossip::to_string(change.reason)},
              {"offset_ns", std::to_string(change.offset_ns)},
              {"guard_ns", std::to_string(adjustment_.guard_ns())},
              {"after_ms", std::to_string(change.after_ns / kMillisecond)}});
    gossip::AlertBody body;
    body.subject = options_.self;
    body.subject_epoch = options_.epoch;
    body.stage = change.to;
    body.reason = change.reason;
    body.offset_ns = change.offset_ns;
    gossip_.alert(body, now, send_);
  }
}

// Whoever lies outside is told, and so are others: at once, and again while it lasts.
void GossipThread::accuse(const LocalNow& now, const std::vector<FusionSource>& sources,
                          const Fused& fused) {
  const bool again = self_alert_ns_ == kLongAgo || now.local_ns - self_alert_ns_ >= kAlertAgain;
  std::vector<NodeId> found;
  for (std::size_t i = 1; fused.valid && i < sources.size(); ++i) {
    if (!accused(fused.verdicts[i])) continue;
    found.push_back(sources[i].id);
    const bool is_new =
        std::find(accused_.begin(), accused_.end(), sources[i].id) == accused_.end();
    if (!is_new && !again) continue;
    gossip::AlertBody body;
    body.subject = sources[i].id;
    body.reason = reason_of(fused.verdicts[i]);
    body.offset_ns = sources[i].estimate_ns - fused.estimate_ns;
    gossip_.alert(body, now, send_);
    if (!is_new) continue;
    log_line(LogLevel::kWarning, "a peer's clock is off",
             {{"node", std::to_string(sources[i].id)},
              {"reason", gossip::to_string(body.reason)},
              {"offset_ns", std::to_string(body.offset_ns)}});
  }
  for (const NodeId before : accused_) {
    if (std::find(found.begin(), found.end(), before) != found.end()) continue;
    gossip::AlertBody body;
    body.subject = before;
    body.stage = gossip::Stage::kNormal;
    gossip_.alert(body, now, send_);
    log_line(LogLevel::kInfo, "a peer's clock agrees again", {{"node", std::to_string(before)}});
  }
  accused_ = std::move(found);
  if (again) self_alert_ns_ = now.local_ns;
}

void GossipThread::write_report(const LocalNow& now, const std::vector<FusionSource>& sources,
                                const Fused& fused, const SkewEvidence& evidence) {
  GossipReport report;
  report.valid = fused.valid;
  report.fused_half_width_ns = fused.voters == 0 ? kNever : fused.hard.half_width();
  report.fused_sigma_ns = fused.sigma_ns;
  report.voters = fused.voters;
  report.rejected = fused.rejected;
  report.faulty_max = fused.faulty_allowed;
  report.stage = adjustment_.stage();
  report.reason = adjustment_.reason();
  report.guard_ns = adjustment_.guard_ns();
  report.offset_ns = evidence.offset_ns;
  report.offset_sigma_ns = evidence.offset_sigma_ns;
  report.clients = evidence.clients;
  report.client_offset_ns = evidence.client_offset_ns;
  report.counters = gossip_.counters();
  report.suspects = gossip_.membership().count(gossip::MemberState::kSuspect);
  report.dead = gossip_.membership().count(gossip::MemberState::kDead);
  for (std::size_t i = 0; i < std::size(report.entered); ++i) {
    report.entered[i] = adjustment_.entered(static_cast<gossip::Stage>(i));
  }
  for (const Closure& closure : gossip_.closures()) {
    report.worst_closure_ns = std::max(report.worst_closure_ns, std::abs(closure.residual_ns));
  }
  for (std::size_t i = 0; i < sources.size(); ++i) {
    GossipReport::Clock clock;
    clock.id = sources[i].id;
    clock.self = i == 0;
    clock.member = gossip_.membership().state(clock.id);
    clock.verdict = fused.verdicts[i];
    clock.stage = adjustment_.stage();
    clock.state = now.clock.state;
    clock.sigma_ns = sources[i].sigma_ns;
    if (fused.verdicts[i] != SourceVerdict::kSilent) {
      clock.offset_ns = sources[i].estimate_ns - fused.estimate_ns;
      clock.half_width_ns = sources[i].hard.half_width();
    }
    if (const HeldStatement* held = gossip_.statements().find(clock.id)) {
      clock.stage = held->said.stage;
      clock.state = static_cast<ClockState>(held->said.clock_state);
      clock.grandmaster = held->said.grandmaster;
      clock.age_ns = held->age_at(now.local_ns, now.rate).most_ns;
    }
    if (const ClockLink* link = gossip_.link(clock.id)) clock.round_trip_ns = link->best_delay_ns();
    report.clocks.push_back(clock);
  }
  const std::lock_guard lock(mutex_);
  report_ = std::move(report);
}

}  // namespace driftlock
