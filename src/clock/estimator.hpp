// OffsetEstimator: the statistical half of the clock model. It follows the offset of the source
// from the local timescale with a Kalman filter, learns how noisy the source and the oscillator
// are, and gates samples that do not fit. Owned by the clock thread. Invariant: a gated sample
// moves nothing but the published doubt.
#pragma once

#include <array>

#include "src/clock/kalman.hpp"

namespace driftlock {

struct EstimatorOptions {
  double frequency_sigma_ppb = 200'000.0;  // before anything is known
  double gate_sigmas = 5.0;                // an innovation beyond this is suspicious
  int step_after = 8;  // this many suspicious samples in a row are a step of the source
};

enum class Verdict { kStarted, kAccepted, kSuspicious, kStepped };

// What the filter foresees for an instant ahead.
struct Forecast {
  double offset_ns = 0.0;
  double variance_ns2 = 0.0;
};

class OffsetEstimator {
 public:
  explicit OffsetEstimator(const EstimatorOptions& options);

  // Local time passes: the filter follows, its doubt grows.
  void coast(double dt_s);
  // The source now reads `offset_ns` ahead of the local timescale. `floor_ns2` is what the reading
  // itself adds (the sandwich); `steering_change` a known change of the source's frequency.
  Verdict observe(double offset_ns, double floor_ns2, double steering_change);
  // The caller moves its own timescale by this much.
  void shift_offset(double offset_ns);

  [[nodiscard]] Forecast forecast(double ahead_s) const;
  // Coefficients of 1, dt, dt^2 ... of the published variance, doubt included.
  [[nodiscard]] std::array<double, 6> forecast_variance() const;
  [[nodiscard]] const KalmanFilter& filter() const { return filter_; }
  [[nodiscard]] double measurement_sigma_ns() const;
  [[nodiscard]] double mean_nis() const { return mean_nis_; }
  [[nodiscard]] bool started() const { return started_; }

 private:
  struct Reject {
    double age_s = 0.0;
    double offset_ns = 0.0;
  };
  static constexpr int kMaxRejects = 32;

  void start(double offset_ns, double variance_ns2);
  Verdict reject(double offset_ns, double floor_ns2, const Innovation& innovation);
  void learn(const Innovation& innovation, double floor_ns2);

  EstimatorOptions options_;
  KalmanFilter filter_{2};
  ProcessNoise noise_;
  bool started_ = false;
  double measurement_ns2_ = 0.0;  // learned variance of the source's noise
  double learned_ = 0.0;          // samples behind it
  double mean_nis_ = 1.0;
  double doubt_ns2_ = 0.0;  // squared innovation of the latest sample, where it was suspicious
  std::array<Reject, kMaxRejects> rejects_{};
  int reject_count_ = 0;
};

}  // namespace driftlock
