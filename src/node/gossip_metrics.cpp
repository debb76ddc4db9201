#include "src/node/metric_writer.hpp"
#include "src/node/metrics.hpp"

namespace driftlock {
namespace {

void write_traffic(MetricWriter& out, const GossipCounters& counters) {
  out.counter("driftlock_gossip_rounds_total", "Rounds of gossip begun.", counters.rounds);
  out.counter("driftlock_gossip_datagrams_total", "Gossip datagrams.");
  out.value(counters.sent + counters.alerts_sent, {{"direction", "sent"}});
  out.value(counters.received, {{"direction", "received"}});
  out.counter("driftlock_gossip_bytes_total", "Bytes of gossip, headers below UDP not counted.");
  out.value(counters.sent_bytes, {{"direction", "sent"}});
  out.value(counters.received_bytes, {{"direction", "received"}});
  out.counter("driftlock_gossip_timeouts_total",
              "Peers that did not answer, not through others either.", counters.timeouts);
  out.counter("driftlock_gossip_dropped_total",
              "Gossip datagrams that were not acted on, by reason.");
  for (std::size_t i = 1; i < gossip::kRefusalCount; ++i) {
    out.value(counters.refused[i],
              {{"reason", gossip::to_string(static_cast<gossip::Refusal>(i))}});
  }
  out.value(counters.strangers, {{"reason", "stranger"}});
  out.value(counters.stale, {{"reason", "stale"}});
  out.counter("driftlock_gossip_bad_stamps_total",
              "Exchanges whose four timestamps cannot be, or contradict the link.",
              counters.bad_stamps);
  out.counter("driftlock_gossip_loops_total", "Loops of three nodes whose offsets were added up.");
  out.value(counters.closures - counters.open_loops, {{"closed", "yes"}});
  out.value(counters.open_loops, {{"closed", "no"}});
  out.counter("driftlock_gossip_alerts_total", "Alerts about a clock.");
  out.value(counters.alerts_sent, {{"direction", "sent"}});
  out.value(counters.alerts, {{"direction", "received"}});
}

void write_adjustment(MetricWriter& out, const GossipReport& report) {
  out.gauge("driftlock_adjustment_stage", "1 for the stage that this node's clock is in.");
  for (std::size_t i = 0; i < std::size(report.entered); ++i) {
    const auto stage = static_cast<gossip::Stage>(i);
    out.value(report.stage == stage ? 1 : 0, {{"stage", gossip::to_string(stage)}});
  }
  out.counter("driftlock_adjustment_entered_total", "How often each stage was entered.");
  for (std::size_t i = 0; i < std::size(report.entered); ++i) {
    out.value(report.entered[i], {{"stage", gossip::to_string(static_cast<gossip::Stage>(i))}});
  }
  out.gauge("driftlock_adjustment_guard_seconds", "Kept on top of every bound of this node.",
            seconds(report.guard_ns));
}

}  // namespace

void write_gossip(MetricWriter& out, const GossipReport& report) {
  write_traffic(out, report.counters);
  write_adjustment(out, report);
  out.gauge("driftlock_fused_valid", "1 where enough clocks of the cluster agree.",
            report.valid ? 1 : 0);
  out.gauge("driftlock_fused_sources", "Clocks heard, by what became of them.");
  out.value(report.voters - report.rejected, {{"verdict", "used"}});
  out.value(report.rejected, {{"verdict", "rejected"}});
  if (report.valid) {
    out.gauge("driftlock_fused_hard_half_width_seconds",
              "Half the width of what enough clocks of the cluster share.",
              seconds(report.fused_half_width_ns));
    out.gauge("driftlock_fused_sigma_seconds", "Standard deviation of their estimate.",
              report.fused_sigma_ns * 1e-9);
    out.gauge("driftlock_fused_offset_seconds", "This node's estimate less the cluster's.",
              seconds(report.offset_ns));
  }
  out.gauge("driftlock_gossip_members", "Peers that are not well.");
  out.value(report.suspects, {{"state", "suspect"}});
  out.value(report.dead, {{"state", "dead"}});
}

}  // namespace driftlock
