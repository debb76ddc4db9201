// The one file of the node that sees nlohmann's JSON.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/node/admin.hpp"
#include "src/node/lock_look.hpp"

namespace driftlock {
namespace {

using nlohmann::json;

constexpr std::int64_t kLocksShownDefault = 100;
constexpr std::int64_t kLocksShownMax = 10'000;

json clock_answer(const NodeView& view) {
  const ClockReading now = view.clock.now();
  const ClockReport report = view.clock.report();
  json answer{{"state", to_string(now.state)},
              {"source", report.source},
              {"frequency_ppb", report.status.frequency_ppb},
              {"accepted", report.status.accepted},
              {"suspicious", report.status.suspicious},
              {"missed", report.status.missed},
              {"steps", report.status.steps}};
  if (!report.trouble.empty()) answer["trouble"] = report.trouble;
  // Without a bound there is nothing to state.
  if (now.state == ClockState::kLost) return answer;
  answer["earliest_ns"] = now.tai.earliest;
  answer["latest_ns"] = now.tai.latest;
  answer["half_width_ns"] = now.tai.half_width();
  answer["estimate_ns"] = now.estimate_ns;
  answer["sigma_ns"] = now.sigma_ns;
  return answer;
}

json contention_answer(const NodeView& view) {
  const Speculator::Figures& figures = view.speculator->figures();
  const auto mean_us = [](std::uint64_t sum_us, std::uint64_t count) {
    return count == 0 ? 0 : sum_us / count;
  };
  const std::uint64_t forecasts = figures.forecasts.read();
  return {{"acting", view.speculator->acting()},
          {"advances", view.gauges.advances.read()},
          {"advances_made", view.gauges.advances_made.read()},
          {"advances_used", view.gauges.advances_used.read()},
          {"advances_returned", view.gauges.advances_returned.read()},
          {"advances_recalled", view.gauges.advances_recalled.read()},
          {"advised", figures.advised.read()},
          {"waits_forecast", forecasts},
          {"wait_forecast_mean_us", mean_us(figures.forecast_sum_us.read(), forecasts)},
          {"wait_mean_us", mean_us(figures.waited_sum_us.read(), forecasts)},
          {"wait_forecast_error_mean_us", mean_us(figures.forecast_error_us.read(), forecasts)}};
}

json status_answer(const NodeView& view, const std::string& metrics_url) {
  const Options& options = view.options;
  json answer{{"node", view.name},
              {"version", version()},
              {"epoch", view.epoch},
              {"uptime_s", (unix_now_ns() - view.started_unix_ns) / kSecond},
              {"ready", view.gauges.ready.read() != 0},
              {"sessions", view.gauges.sessions_active.read()},
              {"sessions_max", options.limits.sessions_max},
              {"locks", view.gauges.locks_in_use.read()},
              {"locks_max", options.limits.locks_max},
              {"waiters", view.gauges.waiters.read()},
              {"waiters_max", options.limits.claims_max},
              {"clock", clock_answer(view)},
              {"port",
               {{"kind", options.port.kind},
                {"device", options.port.device},
                {"address", view.shard.address()},
                {"stamp_source", view.shard.stamp_source()}}},
              {"metrics", metrics_url}};
  if (view.speculator != nullptr) answer["contention"] = contention_answer(view);
  return answer;
}

json holder_answer(const LockLook& look, const LockLook::Holder& holder) {
  const ClockReading& now = look.taken_at();
  json answer{{"client_id", holder.client_id},
              {"session_id", holder.session_id},
              {"token", holder.token},
              {"lease_end_ns", holder.lease_end_ns},
              {"since_ms", holder.held_us / 1000},
              {"permits", holder.permits}};
  if (now.state != ClockState::kLost) {
    // As the grantor counts: until `earliest` is past the lease's end.
    answer["remaining_ms"] =
        std::max<Nanoseconds>(holder.lease_end_ns - now.tai.earliest, 0) / kMillisecond;
  }
  return answer;
}

json entry_answer(const LockLook& look, const LockLook::Entry& entry) {
  json holders = json::array();
  for (std::size_t i = 0; i < entry.holder_count; ++i) {
    holders.push_back(holder_answer(look, look.holders()[entry.holder_first + i]));
  }
  const bool held = entry.holder_count != 0;
  return {{"namespace", entry.namespace_id},
          {"key", entry.key_text()},
          {"mode", held ? entry.mode(look.holders()[entry.holder_first]) : "none"},
          {"holders", std::move(holders)},
          {"waiters", entry.waiters}};
}

json queue_answer(const LockLook& look, const LockLook::Entry& entry) {
  json queue = json::array();
  for (std::size_t i = 0; i < entry.waiter_count; ++i) {
    const LockLook::Waiter& waiter = look.waiters()[entry.waiter_first + i];
    queue.push_back({{"client_id", waiter.client_id},
                     {"session_id", waiter.session_id},
                     {"waited_ms", waiter.waited_us / 1000}});
  }
  return queue;
}

json deadlocks_answer(const LockLook& look) {
  json deadlocks = json::array();
  for (const std::vector<WaitEdge>& cycle : find_deadlocks(look.wait_edges())) {
    json edges = json::array();
    for (const WaitEdge& edge : cycle) {
      const LockLook::Entry& entry = look.entries()[edge.lock];
      edges.push_back({{"session_id", edge.waiter},
                       {"waits_for", edge.blocker},
                       {"namespace", entry.namespace_id},
                       {"key", entry.key_text()},
                       {"waited_ms", edge.waited_ms}});
    }
    deadlocks.push_back(std::move(edges));
  }
  return deadlocks;
}

json holders_answer(const NodeView& view, const json& question) {
  const std::int64_t limit = question.value("limit", kLocksShownDefault);
  const bool waiting = question.value("waiting", false);
  const auto locks_max =
      static_cast<std::size_t>(std::clamp<std::int64_t>(limit, 1, kLocksShownMax));
  LockLook look(locks_max, waiting);
  view.shard.ask(look);
  json locks = json::array();
  for (const LockLook::Entry& entry : look.entries()) {
    locks.push_back(entry_answer(look, entry));
    if (waiting) locks.back()["queue"] = queue_answer(look, entry);
  }
  json answer{{"locks", std::move(locks)}, {"truncated", look.truncated()}};
  if (waiting) answer["deadlocks"] = deadlocks_answer(look);
  return answer;
}

json peer_clock_answer(const GossipReport::Clock& clock) {
  constexpr const char* kVerdicts[] = {"used", "silent", "false", "improbable"};
  json answer{{"node", clock.id},
              {"self", clock.self},
              {"member", gossip::to_string(clock.member)},
              {"state", to_string(clock.state)},
              {"stage", gossip::to_string(clock.stage)},
              {"verdict", kVerdicts[static_cast<std::size_t>(clock.verdict)]},
              {"offset_ns", clock.offset_ns},
              {"half_width_ns", clock.half_width_ns},
              {"sigma_ns", clock.sigma_ns},
              {"age_ns", clock.age_ns},
              {"grandmaster", clock.grandmaster}};
  if (clock.round_trip_ns >= 0 && clock.round_trip_ns != kNever) {
    answer["round_trip_ns"] = clock.round_trip_ns;
  }
  return answer;
}

json clocks_answer(const NodeView& view) {
  if (view.gossip == nullptr)
    return {{"error", "this node does not gossip: gossip.address is empty"}};
  const GossipReport report = view.gossip->report();
  json clocks = json::array();
  for (const GossipReport::Clock& clock : report.clocks) clocks.push_back(peer_clock_answer(clock));
  return {{"stage", gossip::to_string(report.stage)},
          {"reason", gossip::to_string(report.reason)},
          {"guard_ns", report.guard_ns},
          {"offset_ns", report.offset_ns},
          {"offset_sigma_ns", report.offset_sigma_ns},
          {"fused_valid", report.valid},
          {"fused_half_width_ns", report.fused_half_width_ns},
          {"fused_sigma_ns", report.fused_sigma_ns},
          {"voters", report.voters},
          {"rejected", report.rejected},
          {"faulty_max", report.faulty_max},
          {"worst_closure_ns", report.worst_closure_ns},
          {"open_loops", report.counters.open_loops},
          {"may_take_ownership", view.gossip->take_over_allowed()},
          {"clocks", std::move(clocks)}};
}

json rehearse_answer(const NodeView& view, const json& question) {
  if (view.rehearsal == nullptr) {
    return {{"error", "faults can be set where clock.source = \"simulated\""}};
  }
  SimulatedFaults faults = view.rehearsal->faults();
  faults.unreadable = question.value("unreadable", faults.unreadable);
  faults.unsynchronized = question.value("unsynchronized", faults.unsynchronized);
  faults.offset_ns = question.value("offset_ns", faults.offset_ns);
  faults.drift_ppb = question.value("drift_ppb", faults.drift_ppb);
  faults.noise_ns = question.value("noise_ns", faults.noise_ns);
  faults.max_error_ns = question.value("max_error_ns", faults.max_error_ns);
  view.rehearsal->set_faults(faults);
  return {{"unreadable", faults.unreadable}, {"unsynchronized", faults.unsynchronized},
          {"offset_ns", faults.offset_ns},   {"drift_ppb", faults.drift_ppb},
          {"noise_ns", faults.noise_ns},     {"max_error_ns", faults.max_error_ns}};
}

// The kill switch, and what prediction has done so far.
json predict_answer(const NodeView& view, const json& question) {
  if (question.contains("mode")) {
    PredictionMode mode = PredictionMode::kOff;
    if (!parse_mode(question["mode"].get<std::string>(), mode)) {
      return {{"error", "mode is one of off, shadow, act"}};
    }
    if (!view.predictor.set_mode(mode)) {
      return {{"error", "the node was started with predict.mode = \"off\" and has no profiles"}};
    }
    return {{"mode", to_string(mode)}};
  }
  const PredictorReport report = view.predictor.report();
  const RenewalSummary& renewal = report.renewal;
  json actions = json::object();
  for (std::size_t i = 0; i < kOrderKinds; ++i) {
    json outcomes = json::object();
    for (std::size_t k = 0; k < kRenewalOutcomes; ++k) {
      const std::uint64_t count = renewal.outcomes[i][k];
      if (count > 0) outcomes[to_string(static_cast<RenewalOutcome>(k))] = count;
    }
    actions[to_string(static_cast<OrderKind>(i))] = {{"done", renewal.actions[i][0]},
                                                     {"rehearsed", renewal.actions[i][1]},
                                                     {"outcomes", std::move(outcomes)}};
  }
  return {{"mode", to_string(report.mode)},
          {"actions", std::move(actions)},
          {"out_of_budget", renewal.out_of_budget},
          {"self_suspect", renewal.self_suspect},
          {"self_suspicions", renewal.self_suspicions},
          {"pauses", renewal.pauses},
          {"revoked", renewal.revoked},
          {"term_mean_s", renewal.term_mean_s}};
}

json answer_question(const json& question, const NodeView& view, const std::string& metrics_url) {
  if (!question.is_object() || !question.contains("command")) {
    return {{"error", "ask with one JSON object a line, such as {\"command\": \"status\"}"}};
  }
  try {
    const std::string command = question["command"].get<std::string>();
    if (command == "status") return status_answer(view, metrics_url);
    if (command == "holders") return holders_answer(view, question);
    if (command == "clock") return clock_answer(view);
    if (command == "clocks") return clocks_answer(view);
    if (command == "rehearse") return rehearse_answer(view, question);
    if (command == "predict") return predict_answer(view, question);
    return {
        {"error", "no such command: there are status, holders, clock, clocks, predict, rehearse"}};
  } catch (const json::exception& error) {
    return {{"error", std::string("a field has the wrong type: ") + error.what()}};
  }
}

}  // namespace

std::string answer_admin(const std::string& line, const NodeView& view,
                         const std::string& metrics_url) {
  const json question = json::parse(line, nullptr, false);
  // Keys are bytes; where they are not UTF-8 the odd ones are replaced.
  return answer_question(question, view, metrics_url)
             .dump(-1, ' ', false, json::error_handler_t::replace) +
         "\n";
}

}  // namespace driftlock
