#include "src/node/predictor_thread.hpp"

#include <pthread.h>

#include <chrono>

#include "src/node/log.hpp"

namespace driftlock {

PredictorThread::PredictorThread(ProfileTable* profiles, std::unique_ptr<Probe> probe,
                                 const Settings& settings, Shard& shard, Speculator* speculator,
                                 std::function<ClockReading()> now)
    : profiles_(profiles),
      probe_(std::move(probe)),
      interval_ns_(settings.interval_ns),
      look_ns_(settings.renewal.interval_ns),
      shard_(shard),
      speculator_(speculator),
      now_(std::move(now)),
      wanted_mode_(profiles != nullptr ? settings.renewal.mode : PredictionMode::kOff) {
  if (profiles != nullptr) {
    predictor_ =
        std::make_unique<Predictor>(std::vector<const ProfileTable*>{profiles}, settings.predictor);
    policy_ = std::make_unique<RenewalPolicy>(profiles->size(), settings.renewal);
  }
  report_.probing = probe_ != nullptr;
  report_.predicting = predictor_ != nullptr;
  report_.mode = wanted_mode_;
}

PredictorThread::~PredictorThread() {
  stop();
}

void PredictorThread::start() {
  if (!probe_ && !predictor_) return;
  thread_ = std::jthread([this](const std::stop_token& stopping) {
    pthread_setname_np(pthread_self(), "predictor");
    run(stopping);
  });
}

void PredictorThread::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

PredictorReport PredictorThread::report() const {
  const std::lock_guard lock(mutex_);
  return report_;
}

bool PredictorThread::set_mode(PredictionMode mode) {
  if (profiles_ == nullptr) return mode == PredictionMode::kOff;
  wanted_mode_.store(mode);
  return true;
}

void PredictorThread::run(const std::stop_token& stopping) {
  auto next_score = std::chrono::steady_clock::now();
  while (!stopping.stop_requested()) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= next_score) {
      score();
      next_score = now + std::chrono::nanoseconds(interval_ns_);
    }
    if (policy_) look();
    const Nanoseconds pause_ns = policy_ ? std::min(look_ns_, interval_ns_) : interval_ns_;
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stopping, std::chrono::nanoseconds(pause_ns), [] { return false; });
  }
}

void PredictorThread::score() {
  std::vector<PathLatency> paths;
  PredictorReport found = report();
  if (probe_) {
    const std::vector<ProbeClient> clients = probe_->read_clients();
    paths = paths_of(clients);
    for (const ProbeClient& client : clients) found.probe_latency.add(client.recent);
    found.probe = probe_->read_totals();
    found.probe_cost = probe_->read_cost();
    probe_->take_events([](const probe_event& event) {
      log_line(LogLevel::kDebug, "probe",
               {{"session", std::to_string(event.session_id)},
                {"op", std::to_string(event.op)},
                {"latency_ns", std::to_string(event.latency_ns)}});
    });
  }
  if (predictor_ && policy_->mode() != PredictionMode::kOff) {
    found.predictor = predictor_->step(now_().tai.middle(), paths);
    // With half of all clients suspect, the node is: nobody is asked for it.
    if (!found.predictor.self_suspect) policy_->take_scores(predictor_->scores());
  }
  const std::lock_guard lock(mutex_);
  report_ = std::move(found);
}

// Without a clock no silence can be judged.
void PredictorThread::look() {
  const PredictionMode wanted = wanted_mode_.load();
  if (wanted != policy_->mode()) {
    log_line(LogLevel::kInfo, "prediction", {{"mode", to_string(wanted)}});
    profiles_->set_recording(wanted != PredictionMode::kOff);
    policy_->set_mode(wanted);
    if (speculator_ != nullptr) speculator_->set_acting(wanted == PredictionMode::kAct);
  }
  const ClockReading now = now_();
  if (now.state == ClockState::kLost) return;
  const Nanoseconds now_ns = now.tai.middle();
  OrderOutcome outcome;
  while (shard_.next_outcome(outcome)) policy_->take_outcome(outcome, now_ns);
  policy_->turn(*profiles_, now_ns,
                [this](const SessionOrder& order) { return shard_.order(order); });
  log_records();
  const std::lock_guard lock(mutex_);
  report_.mode = policy_->mode();
  report_.renewal = policy_->summary();
}

// What shadow would have done is news; of what was done only failures and their sequel.
void PredictorThread::log_records() {
  for (const RenewalRecord& record : policy_->take_records()) {
    const bool news = record.rehearsal || record.action == OrderKind::kFail;
    log_line(news ? LogLevel::kInfo : LogLevel::kDebug, "prediction",
             {{"action", to_string(record.action)},
              {"mode", record.rehearsal ? "shadow" : "act"},
              {"outcome", to_string(record.outcome)},
              {"client", std::to_string(record.client_id)},
              {"session", std::to_string(record.session_id)},
              {"silence_ms", std::to_string(record.silence_ns / kMillisecond)},
              {"took_ms", std::to_string(record.took_ns / kMillisecond)},
              {"strangeness", std::to_string(record.strangeness)},
              {"revoked", std::to_string(record.revoked)}});
  }
}

// Where replies cannot be seen nothing is said of what stayed unanswered.
std::vector<PathLatency> PredictorThread::paths_of(const std::vector<ProbeClient>& clients) const {
  std::vector<PathLatency> paths;
  if (!probe_->sees_replies()) return paths;
  paths.reserve(clients.size());
  for (const ProbeClient& client : clients) {
    paths.push_back({.session_id = client.session_id,
                     .requests = client.recent_counts.requests,
                     .replies = client.recent_counts.replies,
                     .p50_ns = client.recent.quantile_ns(0.5),
                     .p99_ns = client.recent.quantile_ns(0.99)});
  }
  return paths;
}

}  // namespace driftlock
