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

std::vector<PathLatency> PredictorThread::paths_of(const std::vector<ProbeClient>& clients) {
  std::vector<PathLatency> paths;
  paths.reserve(clients.size());
  for (auto& [key, seen] : seen_) seen.present = false;
  for (const ProbeClient& client : clients) {
    Seen& seen = seen_[std::uint64_t{client.ipv4} << 16 | client.udp_port];
    paths.push_back({.session_id = client.session_id,
                     .requests = client.requests - seen.requests,
                     .replies = client.replies - seen.replies,
                     .p50_ns = client.recent.quantile_ns(0.5),
                     .p99_ns = client.recent.quantile_ns(0.99)});
    seen = {client.requests, client.replies, true};
  }
  std::erase_if(seen_, [](const auto& entry) { return !entry.second.present; });
  return paths;
}

}  // namespace driftlock
