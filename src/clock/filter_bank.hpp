// FilterBank<N>: many Kalman filters over one clock, each with its own ratio of process to
// measurement noise, weighted by how well each has foreseen the samples. This is how q and R are
// learned: no noise level is configured. Owned by the clock thread. Invariant: the weights sum
// to 1.
#pragma once

#include <vector>

#include "src/clock/forecast.hpp"
#include "src/clock/kalman.hpp"

namespace driftlock {

struct FilterBankOptions {
  double interval_s = 1.0;  // usual spacing of the samples: the grid's unit of time
  double memory = 4096.0;   // samples over which the noise is learned
};

template <int kStates>
class FilterBank {
 public:
  explicit FilterBank(const FilterBankOptions& options);

  void start(double offset_ns);
  void coast(double dt_s);
  // `relative_noise` is this measurement's variance over the usual one.
  void observe(double offset_ns, double relative_noise);
  // A sample that the filters must not follow, but may learn from: how wrong they can be.
  void learn(double offset_ns, double relative_noise);
  void restart_offset(double offset_ns, double frequency_variance);

  // The mixture's forecast from now on. Until noise_known(), scaled by `prior_ns2` for R.
  [[nodiscard]] ForecastCurve curve(double prior_ns2) const;
  // One member's forecast, and all members' means in the order of their indices.
  [[nodiscard]] std::size_t size() const { return members_.size(); }
  [[nodiscard]] ForecastCurve member_curve(std::size_t index, double prior_ns2) const;
  void append_means(std::vector<ForecastMean>& means) const;
  // The learned variance of a measurement, widened as long as few samples stand behind it.
  [[nodiscard]] double measurement_variance(double prior_ns2) const;
  // The mixture's mean process noise.
  [[nodiscard]] ProcessNoise process_noise() const;
  [[nodiscard]] bool frequency_known() const { return observed_ >= kStates; }

 private:
  struct Member {
    KalmanFilter<kStates> filter;  // in units where R = 1
    ProcessNoise noise;            // over R
    double squares = 0.0;          // discounted sum of nu^2/S: R is squares/count_
    double log_variance = 0.0;     // discounted sum of log S
    double variance = 1.0;         // latest S, and its logarithm
    double log_latest = 0.0;
    double weight = 0.0;
  };
  void weigh();
  [[nodiscard]] static double log_of(Member& member, double variance);
  [[nodiscard]] static ForecastMean mean_of(const Member& member);
  [[nodiscard]] double scale(const Member& member, double prior_ns2) const;

  FilterBankOptions options_;
  std::vector<Member> members_;
  double count_ = 0.0;  // discounted number of innovations behind squares
  int observed_ = 0;    // since start, held at a large number
};

}  // namespace driftlock
