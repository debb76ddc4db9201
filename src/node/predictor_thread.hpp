// PredictorThread: at each interval reads the probe, steps the predictor and keeps what both found
// for metrics. Owns the probe. start() and stop() by the main thread; report() by any control
// thread. In shadow mode: nothing acts on the scores.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bpf/probe.hpp"
#include "src/predict/predictor.hpp"

namespace driftlock {

struct PredictorReport {
  bool probing = false;
  ProbeTotals probe;
  ProbeHistogram probe_latency;  // of all clients, since the probe was attached
  ProbeCost probe_cost;
  bool predicting = false;
  PredictorSummary predictor;
};

class PredictorThread {
 public:
  // `profiles` null: no scores. `probe` null: no probe. `now` tells the node's estimate of TAI.
  PredictorThread(const ProfileTable* profiles, std::unique_ptr<Probe> probe,
                  Nanoseconds interval_ns, std::function<Nanoseconds()> now);
  ~PredictorThread();
  PredictorThread(const PredictorThread&) = delete;
  PredictorThread& operator=(const PredictorThread&) = delete;

  void start();
  void stop();
  [[nodiscard]] PredictorReport report() const;

 private:
  void run(const std::stop_token& stopping);
  void turn();
  [[nodiscard]] std::vector<PathLatency> paths_of(const std::vector<ProbeClient>& clients) const;

  const std::unique_ptr<Probe> probe_;
  const Nanoseconds interval_ns_;
  const std::function<Nanoseconds()> now_;
  std::unique_ptr<Predictor> predictor_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  PredictorReport report_;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace driftlock
