// PredictorThread: looks at every session many times a second (liveness, renewal policy) and scores
// them at a slower pace, with the probe. Owns the probe, the predictor and the policy; its orders
// to the lcore go by the shard's ring. start(), stop() by the main thread; report(), set_mode() by
// any control thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bpf/probe.hpp"
#include "src/node/shard.hpp"
#include "src/predict/predictor.hpp"
#include "src/predict/renewal_policy.hpp"

namespace driftlock {

struct PredictorReport {
  bool probing = false;
  ProbeTotals probe;
  ProbeHistogram probe_latency;  // of all clients, since the probe was attached
  ProbeCost probe_cost;
  bool predicting = false;
  PredictorSummary predictor;
  PredictionMode mode = PredictionMode::kOff;
  RenewalSummary renewal;
};

class PredictorThread {
 public:
  struct Settings {
    Nanoseconds interval_ns = kSecond;  // between two scorings
    PredictorOptions predictor;
    RenewalOptions renewal;  // its interval_ns: between two looks
  };
  // `profiles` null: no scores and no orders. `probe` null: no probe. `speculator` null: no grants
  // in advance that would follow the mode. `now` tells the node's clock.
  PredictorThread(ProfileTable* profiles, std::unique_ptr<Probe> probe, const Settings& settings,
                  Shard& shard, Speculator* speculator, std::function<ClockReading()> now);
  ~PredictorThread();
  PredictorThread(const PredictorThread&) = delete;
  PredictorThread& operator=(const PredictorThread&) = delete;

  void start();
  void stop();
  [[nodiscard]] PredictorReport report() const;
  // The kill switch: in force from the next look on. False where nobody is profiled.
  [[nodiscard]] bool set_mode(PredictionMode mode);

 private:
  void run(const std::stop_token& stopping);
  void score();
  void look();
  void log_records();
  [[nodiscard]] std::vector<PathLatency> paths_of(const std::vector<ProbeClient>& clients) const;

  ProfileTable* const profiles_;
  const std::unique_ptr<Probe> probe_;
  const Nanoseconds interval_ns_;
  const Nanoseconds look_ns_;
  Shard& shard_;
  Speculator* const speculator_;
  const std::function<ClockReading()> now_;
  std::unique_ptr<Predictor> predictor_;
  std::unique_ptr<RenewalPolicy> policy_;
  std::atomic<PredictionMode> wanted_mode_;  // writer: control threads; reader: this one
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  PredictorReport report_;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace driftlock
