// KalmanFilter: the state of one clock against its source, with two states (offset, frequency) or
// three (and drift). Owned by the clock thread, not thread-safe. Invariant: the covariance stays
// symmetric and positive semidefinite (Joseph form).
#pragma once

#include <array>

namespace driftlock {

// Process noise of a clock in continuous form: the power of the white noise that drives each state.
struct ProcessNoise {
  double q1 = 0.0;  // white frequency noise: ns^2/s
  double q2 = 0.0;  // random walk of frequency: (ns/s)^2/s
  double q3 = 0.0;  // random walk of drift: (ns/s^2)^2/s
};

// What a measurement said: innovation, and its variance as foreseen by the filter.
struct Innovation {
  double value_ns = 0.0;
  double variance_ns2 = 1.0;

  // Normalized innovation squared: chi-square with one degree of freedom, mean 1.
  [[nodiscard]] double nis() const { return value_ns * value_ns / variance_ns2; }
};

class KalmanFilter {
 public:
  static constexpr int kMaxStates = 3;

  explicit KalmanFilter(int states);

  // Starts over from offset, frequency and drift (ns, ns/s, ns/s^2) with independent variances.
  void reset(const std::array<double, kMaxStates>& state,
             const std::array<double, kMaxStates>& variance);
  void predict(double dt_s, const ProcessNoise& noise);
  [[nodiscard]] Innovation innovation(double offset_ns, double variance_ns2) const;
  // Joseph form. The caller has gated the innovation.
  void update(const Innovation& innovation, double measurement_variance_ns2);

  // Known inputs: they move the state and leave its uncertainty.
  void shift_offset(double offset_ns) { state_[0] += offset_ns; }
  void shift_frequency(double frequency_ns_per_s) { state_[1] += frequency_ns_per_s; }
  // More doubt than the model foresaw (a suspicious sample, a change of conditions).
  void inflate(double offset_ns2, double frequency) {
    covariance_[0] += offset_ns2;
    covariance_[kMaxStates + 1] += frequency;
  }

  [[nodiscard]] int states() const { return states_; }
  [[nodiscard]] double offset_ns() const { return state_[0]; }
  [[nodiscard]] double frequency_ns_per_s() const { return state_[1]; }
  [[nodiscard]] double drift_ns_per_s2() const { return states_ > 2 ? state_[2] : 0.0; }
  [[nodiscard]] double covariance(int row, int column) const {
    return covariance_[static_cast<std::size_t>(row) * kMaxStates +
                       static_cast<std::size_t>(column)];
  }
  // Variance of the offset forecast dt_s ahead, as coefficients of 1, dt, dt^2, ... dt^5.
  [[nodiscard]] std::array<double, 6> forecast_variance(const ProcessNoise& noise) const;

 private:
  int states_;
  std::array<double, kMaxStates> state_{};
  std::array<double, std::size_t{kMaxStates} * kMaxStates>
      covariance_{};  // row-major, kMaxStates wide
};

}  // namespace driftlock
