// OffsetEstimator: the statistical half of the clock model. It follows the offset of the source
// from the local timescale, learns how noisy the source and the oscillator are, and gates samples
// that do not fit. Owned by the clock thread. Invariant: a gated sample moves nothing but the
// published doubt.
#pragma once

#include <array>
#include <vector>

#include "src/clock/filter_bank.hpp"
#include "src/clock/forecast.hpp"
#include "src/clock/scoreboard.hpp"
#include "src/clock/window_forecasts.hpp"

namespace driftlock {

// The statistical bound is this many published sigmas; its stated coverage is 99.9%.
inline constexpr double kStatisticalSigmas = 4.5;

struct EstimatorOptions {
  FilterBankOptions bank;
  double gate_sigmas = 5.0;  // an innovation beyond this is suspicious
  int step_after = 8;        // this many suspicious samples in a row are a step of the source
};

// kSpared: not for the estimator to judge.
enum class Verdict { kStarted, kAccepted, kSuspicious, kStepped, kSpared };

class OffsetEstimator {
 public:
  explicit OffsetEstimator(const EstimatorOptions& options);

  // Local time passes: the filters follow, doubt grows.
  void coast(double dt_s);
  // The source now reads `offset_ns` ahead of the local timescale. `floor_ns2` is the variance that
  // the reading itself adds (the sandwich); `prior_ns2` what the source's noise can be at most, as
  // long as nothing better is known.
  Verdict observe(double offset_ns, double floor_ns2, double prior_ns2);

  // What is foreseen from now on, by the model that has proved best for `ahead_s`.
  [[nodiscard]] ForecastCurve curve(double ahead_s) const;
  [[nodiscard]] bool started() const { return started_; }
  [[nodiscard]] double since_sample_s() const { return now_s_ - sample_s_; }
  [[nodiscard]] double innovation_ns() const { return innovation_.value_ns; }
  [[nodiscard]] double nis() const { return innovation_.nis(); }  // of the latest sample
  [[nodiscard]] double mean_nis() const { return mean_nis_; }
  [[nodiscard]] double measurement_sigma_ns() const;
  [[nodiscard]] ProcessNoise process_noise() const { return straight_.process_noise(); }

 private:
  struct Reject {
    double time_s = 0.0;
    double offset_ns = 0.0;
  };
  static constexpr int kMaxRejects = 32;

  void start(double offset_ns, double prior_ns2);
  void accept(double offset_ns, double measurement_ns2, double relative_noise);
  Verdict reject(double offset_ns, double measurement_ns2, double relative_noise);
  void record();
  [[nodiscard]] ForecastCurve expert(const Scoreboard::Belief::Share& share,
                                     const ForecastCurve& mixture) const;
  // By the beliefs for `horizon_s`, with the mixture's forecast given; not stretched.
  [[nodiscard]] ForecastCurve believed(double horizon_s, const ForecastCurve& mixture) const;

  EstimatorOptions options_;
  FilterBank<2> straight_;
  FilterBank<3> drifting_;
  WindowForecasts windows_;  // of accepted samples, moved along with every step
  WindowForecasts as_read_;  // all but single outliers, steps and all, for a clock that wanders so
  Scoreboard scoreboard_;
  std::vector<ForecastMean> means_;  // of all experts, in the scoreboard's order
  bool started_ = false;
  int accepted_ = 0;  // since the start, held at a large number
  double now_s_ = 0.0;
  double sample_s_ = 0.0;  // of the latest accepted sample
  double prior_ns2_ = 1.0;
  Innovation innovation_;
  double mean_nis_ = 1.0;
  double gate_ = 1.0;       // factor on the gate: above 1 where what was suspicious proved true
  double doubt_ns2_ = 0.0;  // squared innovation of the latest sample, where it was suspicious
  std::array<Reject, kMaxRejects> rejects_{};
  int reject_count_ = 0;
};

}  // namespace driftlock
