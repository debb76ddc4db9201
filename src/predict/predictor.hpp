// Predictor: scores every client each time it is stepped. Owned by the predictor thread; reads the
// lcores' profiles as copies and the probe's summaries as an argument. What is done about a score
// is the renewal policy's matter.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "src/base/time.hpp"
#include "src/predict/combined_score.hpp"
#include "src/predict/features.hpp"
#include "src/predict/profile.hpp"
#include "src/predict/random.hpp"
#include "src/predict/score.hpp"

namespace driftlock {

struct PredictorOptions {
  float suspect_at = 0.9F;       // first score, while the model is young
  double alarm_rate = 1e-4;      // false alarms per scoring of an ordinary client
  std::uint32_t learn_max = 64;  // clients learnt from in a step
  std::uint64_t seed = 1;
  Nanoseconds forget_after_ns = 600 * kSecond;  // silent longer: gone, not strange
  // With this share of at least self_clients suspect at once, the node suspects itself.
  float self_share = 0.5F;
  std::uint32_t self_clients = 8;
};

// What one step found, for metrics.
struct PredictorSummary {
  std::uint64_t steps = 0;
  std::uint64_t profiles = 0;  // sessions present
  std::uint64_t warming = 0;   // of these, too young to score
  std::uint64_t suspects = 0;  // of these, at or above the threshold
  std::uint64_t unreadable =
      0;                        // nobody there, or written all the while: the next step tries again
  std::uint64_t with_path = 0;  // of these, seen by the probe
  bool self_suspect = false;
  double score_mean = 0.0;  // of the scored
  double score_max = 0.0;
  std::array<std::uint64_t, kFeatures> causes{};  // suspects by cause
  std::uint64_t learnt = 0;                       // rows the model has learnt from
  bool calibrated = false;  // the alarm rate decides, not the first score's threshold
};

class Predictor {
 public:
  Predictor(std::vector<const ProfileTable*> tables, const PredictorOptions& options);

  // `paths`: what the probe saw since the last step; empty without one.
  const PredictorSummary& step(Nanoseconds now_tai_ns, std::span<const PathLatency> paths);

  // Of the last step, every session present.
  [[nodiscard]] const std::vector<ClientScore>& scores() const { return scores_; }
  [[nodiscard]] const PredictorSummary& summary() const { return summary_; }

 private:
  void learn_paths(std::span<const PathLatency> paths);
  void score(std::size_t index, const ClientProfile& profile, Nanoseconds now_tai_ns);
  void judge(ClientScore& result, const FeatureVector& features);
  void learn();
  void forget_paths();

  using Row = std::array<double, kFeatures>;
  struct Path {
    PathHistory history;
    bool present = false;
  };

  const std::vector<const ProfileTable*> tables_;
  const PredictorOptions options_;
  std::vector<ClientScore> scores_;
  std::unordered_map<std::uint64_t, Path> paths_;  // by session
  PredictorSummary summary_;
  CombinedStream model_;
  Random random_;
  std::vector<Row> lesson_;  // a random part of this step's clients
  std::uint64_t offered_ = 0;
  std::uint64_t learnt_ = 0;
};

}  // namespace driftlock
