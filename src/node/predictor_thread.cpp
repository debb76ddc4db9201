#include "src/node/predictor_thread.hpp"

#include <pthread.h>

#include <chrono>

#include "src/node/log.hpp"

namespace driftlock {

PredictorThread::PredictorThread(const ProfileTable* profiles, std::unique_ptr<Probe> probe,
                                 Nanoseconds interval_ns, std::function<Nanoseconds()> now)
    : probe_(std::move(probe)), interval_ns_(interval_ns), now_(std::move(now)) {
  if (profiles != nullptr) {
    predictor_ =
        std::make_unique<Predictor>(std::vector<const ProfileTable*>{profiles}, PredictorOptions{});
  }
  report_.probing = probe_ != nullptr;
  report_.predicting = predictor_ != nullptr;
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

void PredictorThread::run(const std::stop_token& stopping) {
  while (!stopping.stop_requested()) {
    turn();
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stopping, std::chrono::nanoseconds(interval_ns_), [] { return false; });
  }
}

void PredictorThread::turn() {
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
  if (predictor_) found.predictor = predictor_->step(now_(), paths);
  const std::lock_guard lock(mutex_);
  report_ = std::move(found);
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
