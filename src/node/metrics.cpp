#include "src/node/metrics.hpp"

#include <array>
#include <vector>

#include "src/node/metric_writer.hpp"

namespace driftlock {
namespace {

// The operations that a client asks for; their `ok` series exist from the start, other results
// once they have happened.
constexpr std::size_t kFirstOp = static_cast<std::size_t>(wire::Op::kOpen);

void write_histogram(MetricWriter& out, const LatencyHistogram& histogram, const char* name,
                     const char* help) {
  out.histogram(name, help);
  for (int i = 0; i < LatencyHistogram::kBuckets; ++i) {
    out.bucket(histogram.count(i), seconds(LatencyHistogram::bound_ns(i)));
  }
  out.end_histogram(histogram.count(LatencyHistogram::kBuckets), seconds(histogram.sum_ns()));
}

void write_operations(MetricWriter& out, const FastPathCounters& counters) {
  out.counter("driftlock_operations_total", "Operations served, by kind and result.");
  for (std::size_t op = kFirstOp; op < wire::kOpCount; ++op) {
    if (to_string(static_cast<wire::Op>(op)) == std::string("unknown")) continue;
    for (std::size_t status = 0; status < wire::kStatusCount; ++status) {
      const std::uint64_t count = counters.operations[op][status].read();
      if (count == 0 && status != 0) continue;
      out.value(count, {{"operation", to_string(static_cast<wire::Op>(op))},
                        {"result", to_string(static_cast<wire::Status>(status))}});
    }
  }
  out.counter("driftlock_datagrams_rejected_total", "Datagrams not served, by reason.");
  for (std::size_t reason = 1; reason < wire::kRejectCount; ++reason) {
    out.value(counters.rejected[reason].read(),
              {{"reason", to_string(static_cast<wire::Reject>(reason))}});
  }
  out.counter("driftlock_datagrams_received_total", "Datagrams taken from the port.",
              counters.datagrams_received.read());
  out.counter("driftlock_datagrams_answered_total", "Datagrams answered.",
              counters.datagrams_answered.read());
  out.counter("driftlock_errors_sent_total", "Unauthenticated error datagrams sent.",
              counters.errors_sent.read());
  out.counter("driftlock_pushes_sent_total", "Late answers sent to waiting clients.",
              counters.pushes_sent.read());
  out.counter("driftlock_polls_total", "Turns of the lcore's loop, by whether anything came.");
  const std::uint64_t idle = counters.polls_idle.read();
  out.value(idle, {{"found", "nothing"}});
  out.value(counters.polls.read() - idle, {{"found", "datagrams"}});
  out.counter("driftlock_receive_stamps_total",
              "Datagrams by where their time of receipt was taken.");
  for (std::size_t source = 0; source < counters.stamps.size(); ++source) {
    out.value(counters.stamps[source].read(),
              {{"source", to_string(static_cast<StampSource>(source))}});
  }
  write_histogram(out, counters.residence, "driftlock_residence_seconds",
                  "Time from receipt of a datagram to its answer.");
  write_histogram(
      out, counters.clock_residual, "driftlock_release_clock_residual_seconds",
      "At releases: how far the client's clock was from the node's, least delay included.");
  write_histogram(out, counters.held_longer, "driftlock_release_held_longer_seconds",
                  "At releases: how much longer than foretold the lock was held.");
  write_histogram(out, counters.held_shorter, "driftlock_release_held_shorter_seconds",
                  "At releases: how much shorter than foretold the lock was held.");
}

void write_occupancy(MetricWriter& out, const NodeView& view) {
  const Engine::Gauges& gauges = view.gauges;
  const Options::Limits& limits = view.options.limits;
  out.gauge("driftlock_sessions", "Sessions open.", gauges.sessions_active.read());
  out.gauge("driftlock_sessions_limit", "Sessions possible.", limits.sessions_max);
  out.gauge("driftlock_locks", "Locks held or waited for.", gauges.locks_in_use.read());
  out.gauge("driftlock_locks_limit", "Locks possible.", limits.locks_max);
  out.gauge("driftlock_holders", "Claims that hold a lock.", gauges.holders.read());
  out.gauge("driftlock_waiters", "Claims that wait for a lock.", gauges.waiters.read());
  out.gauge("driftlock_pooled_claims_limit",
            "Waiters and further holders of shared locks possible.", limits.claims_max);
  out.counter("driftlock_sessions_expired_total", "Sessions whose lease ran out.",
              gauges.sessions_expired.read());
  out.counter("driftlock_grants_pushed_total", "Grants to those who waited.",
              gauges.grants_pushed.read());
  out.counter("driftlock_reclaims_total", "Locks taken up again by their holders after a restart.",
              gauges.reclaims.read());
  out.counter("driftlock_take_overs_total", "Locks taken from their holders under a higher token.",
              gauges.take_overs.read());
  out.counter("driftlock_revocations_total",
              "Of these, from holders that prediction found failing.", gauges.revocations.read());
  out.counter("driftlock_waiters_passed_over_total",
              "Waiters of failing clients that others were granted before.",
              gauges.passed_over.read());
  out.gauge("driftlock_ready", "0 while leases of the life before may run.", gauges.ready.read());
}

void write_contention(MetricWriter& out, const Engine::Gauges& gauges,
                      const Speculator::Figures& figures) {
  out.gauge("driftlock_advances", "Locks granted in advance and not known to be used.",
            gauges.advances.read());
  out.counter("driftlock_advances_total", "Grants in advance, by what became of them.");
  const std::uint64_t crossed = gauges.advances_crossed.read();
  const std::uint64_t expired = gauges.advances_expired.read();
  out.value(gauges.advances_used.read() - crossed, {{"result", "used"}});
  out.value(crossed, {{"result", "crossed"}});
  out.value(gauges.advances_returned.read() - expired, {{"result", "returned"}});
  out.value(expired, {{"result", "expired"}});
  out.counter("driftlock_advances_made_total", "Grants in advance.", gauges.advances_made.read());
  out.counter("driftlock_advances_recalled_total", "Grants in advance that another asked for.",
              gauges.advances_recalled.read());
  out.counter("driftlock_advances_considered_total",
              "Free locks considered for a grant in advance, by what was decided.");
  out.value(figures.advised.read(), {{"decision", "advised"}});
  out.value(figures.held_back_hit.read(), {{"decision", "chance_too_low"}});
  out.value(figures.held_back_gain.read(), {{"decision", "no_gain"}});
  out.value(figures.held_back_tail.read(), {{"decision", "tail"}});
  out.counter("driftlock_next_requesters_total",
              "Requests for free locks whose requester was predicted, rightly or not.");
  out.value(figures.right.read(), {{"prediction", "right"}});
  out.value(figures.judged.read() - figures.right.read(), {{"prediction", "wrong"}});
  out.counter("driftlock_wait_forecasts_total", "Waits that were forecast, and are over.",
              figures.forecasts.read());
  out.counter("driftlock_wait_forecast_seconds_total", "Sum of the forecasts.",
              seconds(figures.forecast_sum_us.read() * kMicrosecond));
  out.counter("driftlock_wait_forecast_error_seconds_total",
              "Sum of what the forecasts were wrong by.",
              seconds(figures.forecast_error_us.read() * kMicrosecond));
  out.counter("driftlock_wait_forecast_waited_seconds_total", "Sum of the waits forecast.",
              seconds(figures.waited_sum_us.read() * kMicrosecond));
  out.counter("driftlock_lock_events_lost_total", "Events of locks that were not learnt from.",
              gauges.lock_events_lost.read());
}

constexpr double kPpb = 1e-9;

void write_clock(MetricWriter& out, const ClockThread& clock) {
  const ClockReport report = clock.report();
  const ClockReading now = clock.now();
  const ClockStatus& status = report.status;
  out.gauge("driftlock_clock_state", "1 for the state that the node's clock is in.");
  for (const ClockState state :
       {ClockState::kLost, ClockState::kSync, ClockState::kHoldover, ClockState::kSuspect}) {
    out.value(now.state == state ? 1 : 0, {{"state", to_string(state)}});
  }
  if (now.state != ClockState::kLost) {
    out.gauge("driftlock_clock_hard_half_width_seconds",
              "Half the width of the interval that contains the true time; absent while LOST.",
              seconds(now.tai.half_width()));
    out.gauge("driftlock_clock_sigma_seconds",
              "Standard deviation of the filter's estimate; absent while LOST.",
              seconds(now.sigma_ns));
    out.gauge("driftlock_clock_tai_seconds", "The filter's estimate of TAI; absent while LOST.",
              seconds(now.estimate_ns));
  }
  out.gauge("driftlock_clock_offset_seconds",
            "TAI against the nominal tick counter since the first sample.",
            seconds(status.offset_ns));
  out.gauge("driftlock_clock_frequency_offset_ratio",
            "TAI's rate against the nominal tick counter, less 1.", status.frequency_ppb * kPpb);
  out.gauge("driftlock_clock_frequency_drift_per_second",
            "Change of the frequency offset in a second.", status.drift_ppb_per_s * kPpb);
  out.gauge("driftlock_clock_steering_ratio", "Frequency adjustment by the source's own servo.",
            status.steering_ppb * kPpb);
  out.gauge("driftlock_clock_innovation_seconds", "Latest sample against the forecast.",
            seconds(status.innovation_ns));
  out.gauge("driftlock_clock_measurement_sigma_seconds", "Learned noise of the source.",
            seconds(status.measurement_sigma_ns));
  out.gauge("driftlock_clock_normalized_innovation", "Mean normalized innovation squared; near 1.",
            status.nis);
  out.counter("driftlock_clock_samples_total", "Samples of the source, by what became of them.");
  out.value(status.accepted, {{"result", "accepted"}});
  out.value(status.suspicious, {{"result", "suspicious"}});
  out.value(status.missed, {{"result", "missed"}});
  out.counter("driftlock_clock_contradictions_total",
              "Suspicious samples that contradicted the hard bound.", status.contradictions);
  out.counter("driftlock_clock_steps_total", "Steps of the source that were believed.",
              status.steps);
  out.gauge("driftlock_clock_source_info", "1; the label names the source.");
  out.value(1, {{"source", report.source}});
}

void write_port(MetricWriter& out, const NodeView& view) {
  const PortFigures figures = view.shard.figures();
  out.gauge("driftlock_port_info", "1; labels describe the port.");
  out.value(1, {{"kind", view.options.port.kind},
                {"address", view.shard.address()},
                {"stamp_source", view.shard.stamp_source()}});
  out.counter("driftlock_port_received_total", "Datagrams received.", figures.received);
  out.counter("driftlock_port_sent_total", "Datagrams sent.", figures.sent);
  out.counter("driftlock_port_send_drops_total", "Datagrams that could not be sent.",
              figures.send_drops);
  out.counter("driftlock_port_receive_drops_total",
              "Datagrams that the device or the kernel dropped before the node saw them.",
              figures.receive_drops);
  out.counter("driftlock_port_buffer_shortages_total", "Late answers put off for want of a buffer.",
              figures.no_buffer);
  out.counter("driftlock_port_stamps_out_of_range_total", "Receive stamps that made no sense.",
              figures.stamps_out_of_range);
  out.counter("driftlock_port_neighbour_answers_total", "ARP and ICMP echo requests answered.",
              figures.neighbour_answers);
  if (figures.refused.empty()) return;
  out.counter("driftlock_port_frames_refused_total", "Frames not meant for the node, by reason.");
  for (const auto& [reason, count] : figures.refused) out.value(count, {{"reason", reason}});
}

// The probe's buckets, sixteen to a power of two, taken together by powers of two.
void write_probe_latency(MetricWriter& out, const ProbeHistogram& latency) {
  out.histogram("driftlock_probe_latency_seconds",
                "Request to reply at the probe's interface; whatever is longer falls into the last "
                "but one bucket.");
  for (int power = 0; power < PROBE_POWERS; ++power) {
    std::uint64_t count = 0;
    for (int sub = 0; sub < PROBE_SUB_BUCKETS; ++sub) {
      count += latency.buckets[static_cast<std::size_t>(power * PROBE_SUB_BUCKETS + sub)];
    }
    out.bucket(count, seconds(std::uint64_t{1} << (PROBE_FIRST_POWER + power + 1)));
  }
  out.end_histogram(0, seconds(latency.sum_ns));
}

void write_probe(MetricWriter& out, const PredictorReport& report) {
  const probe_counters& counters = report.probe.counters;
  out.counter("driftlock_probe_datagrams_total", "Datagrams at the probe's interface, by kind.");
  out.value(counters.requests, {{"kind", "request"}});
  out.value(counters.repeats, {{"kind", "repeat"}});
  out.value(counters.replies, {{"kind", "reply"}});
  out.value(counters.unmatched, {{"kind", "unmatched"}});
  out.value(counters.pushes, {{"kind", "push"}});
  out.value(counters.errors, {{"kind", "error"}});
  out.value(counters.malformed, {{"kind", "malformed"}});
  out.value(counters.fragments, {{"kind", "fragment"}});
  out.value(counters.unreadable, {{"kind", "unreadable"}});
  out.gauge("driftlock_probe_flights", "Requests without an answer yet.",
            report.probe.flights_present);
  out.gauge("driftlock_probe_clients", "Clients that the probe knows.",
            report.probe.clients_present);
  out.counter("driftlock_probe_evictions_total", "Entries that the kernel's maps gave up.");
  out.value(report.probe.counters.flights_evicted, {{"map", "flights"}});
  out.value(report.probe.clients_evicted, {{"map", "clients"}});
  out.counter("driftlock_probe_events_total", "Sampled events, by whether the ring had room.");
  out.value(counters.events, {{"result", "taken"}});
  out.value(counters.events_lost, {{"result", "lost"}});
  write_probe_latency(out, report.probe_latency);
  out.counter("driftlock_probe_runs_total",
              "Packets that the probe looked at; counted where kernel.bpf_stats_enabled is 1.",
              report.probe_cost.runs);
  out.counter("driftlock_probe_run_seconds_total",
              "Time that the probe took; counted where kernel.bpf_stats_enabled is 1.",
              seconds(report.probe_cost.run_time_ns));
}

void write_predictor(MetricWriter& out, const PredictorSummary& summary) {
  out.counter("driftlock_predictor_steps_total", "Scorings of all clients.", summary.steps);
  out.gauge("driftlock_profiles", "Sessions with a profile.", summary.profiles);
  out.gauge("driftlock_profiles_warming", "Profiles too young to score.", summary.warming);
  out.gauge("driftlock_profiles_with_path", "Profiles whose client the probe saw.",
            summary.with_path);
  out.gauge("driftlock_suspects", "Clients whose score is at the threshold or above, by cause.");
  for (std::size_t cause = 0; cause < summary.causes.size(); ++cause) {
    out.value(summary.causes[cause], {{"cause", to_string(static_cast<Feature>(cause))}});
  }
  out.gauge("driftlock_self_suspect",
            "1 where so many clients look sick that the node suspects "
            "itself.",
            summary.self_suspect ? 1 : 0);
  out.gauge("driftlock_score_mean_ratio", "Mean score of the clients, 0 to 1.", summary.score_mean);
  out.gauge("driftlock_score_max_ratio", "Highest score of a client, 0 to 1.", summary.score_max);
}

void write_renewal(MetricWriter& out, const PredictorReport& report) {
  const RenewalSummary& summary = report.renewal;
  out.gauge("driftlock_prediction_mode", "1 for the mode in force: off, shadow or act.");
  for (const PredictionMode mode : kPredictionModes) {
    out.value(report.mode == mode ? 1 : 0, {{"mode", to_string(mode)}});
  }
  out.counter("driftlock_prediction_actions_total",
              "Steps taken about doubtful clients; in mode shadow: that would have been taken.");
  for (std::size_t i = 0; i < kOrderKinds; ++i) {
    const char* action = to_string(static_cast<OrderKind>(i));
    out.value(summary.actions[i][0], {{"action", action}, {"mode", "act"}});
    out.value(summary.actions[i][1], {{"action", action}, {"mode", "shadow"}});
  }
  out.counter("driftlock_prediction_outcomes_total", "What came of these steps.");
  for (const auto kind : {OrderKind::kAskLow, OrderKind::kAskNormal, OrderKind::kFail}) {
    for (std::size_t k = 0; k < kRenewalOutcomes; ++k) {
      out.value(
          summary.outcomes[static_cast<std::size_t>(kind)][k],
          {{"action", to_string(kind)}, {"outcome", to_string(static_cast<RenewalOutcome>(k))}});
    }
  }
  out.counter("driftlock_prediction_held_back_total", "Steps not taken, by reason.");
  out.value(summary.out_of_budget, {{"reason", "budget"}});
  out.value(summary.self_suspicions, {{"reason", "self_suspicion"}});
  out.value(summary.pauses, {{"reason", "own_pause"}});
  out.counter("driftlock_prediction_revoked_total",
              "Locks taken from failing holders by the policy fence.", summary.revoked);
  out.gauge("driftlock_prediction_clients", "Sessions by how far they are in doubt.");
  constexpr std::array<const char*, 4> kStages = {"calm", "asked_low", "asked_normal", "failing"};
  for (std::size_t i = 0; i < kStages.size(); ++i) {
    out.value(summary.stages[i], {{"stage", kStages[i]}});
  }
  out.gauge("driftlock_prediction_term_seconds",
            "Mean of the terms that clients get where somebody waits.", summary.term_mean_s);
}

}  // namespace

std::vector<prometheus::MetricFamily> collect_metrics(const NodeView& view) {
  MetricWriter out;
  out.gauge("driftlock_build_info", "1; labels describe the build.");
  out.value(1, {{"version", version()}});
  out.gauge("driftlock_node_info", "1; labels name the node.");
  out.value(1, {{"node", view.name}});
  out.gauge("driftlock_epoch", "Rises at every start of the node.", view.epoch);
  out.gauge("driftlock_start_time_seconds", "When the node started, since the UNIX epoch.",
            seconds(view.started_unix_ns));
  write_operations(out, view.counters);
  write_occupancy(out, view);
  if (view.speculator != nullptr) write_contention(out, view.gauges, view.speculator->figures());
  write_clock(out, view.clock);
  write_port(out, view);
  if (view.gossip != nullptr) write_gossip(out, view.gossip->report());
  const PredictorReport report = view.predictor.report();
  if (report.probing) write_probe(out, report);
  if (report.predicting) {
    write_predictor(out, report.predictor);
    write_renewal(out, report);
  }
  return out.take();
}

}  // namespace driftlock
