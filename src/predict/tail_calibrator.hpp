// TailCalibrator: turns a detector's score into the probability that an ordinary point scores as
// high, so that an alarm is set by the rate of false alarms asked for and not by a magic score. It
// learns from the last `window` scores: ranks in the body, and above the 95% quantile a generalized
// Pareto tail, since rates like 1e-4 leave too few points to count.
//   P(S > u + x) = P(S > u) (1 - k x / sigma)^(1/k), k and sigma by probability-weighted moments.
// Sources: J. R. M. Hosking, J. R. Wallis, "Parameter and quantile estimation for the generalized
// Pareto distribution", 1987; A. Siffer et al., "Anomaly detection in streams with extreme value
// theory", KDD 2017.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace driftlock {

class TailCalibrator {
 public:
  explicit TailCalibrator(std::size_t window = 16384);

  void learn(double score);
  void refit();  // learn() does so now and then

  // -ln P(an ordinary score is as high); rises with the score without end. 0 before the first fit.
  [[nodiscard]] double strangeness(double score) const;
  // True where enough scores are known to speak of such a rate: kTailReach / rate of them.
  [[nodiscard]] bool reaches(double rate) const {
    return static_cast<double>(known()) * rate >= kTailReach;
  }
  // True where the score is among the highest share `rate` of ordinary ones.
  [[nodiscard]] bool alarm(double score, double rate) const;

  [[nodiscard]] std::size_t known() const { return scores_.size(); }
  // How often the scores moved away together, so that the old ones were dropped.
  [[nodiscard]] std::uint64_t drifts() const { return drifts_; }

  static constexpr std::size_t kFirstFit = 64;
  static constexpr std::size_t kRefitEvery = 256;
  static constexpr double kTailReach = 0.2;  // the tail may be read 5 times beyond what is counted

 private:
  void drop_after_drift();
  void fit_tail();

  const std::size_t window_;
  std::vector<double> scores_;  // ring, oldest at next_ once full
  std::size_t next_ = 0;
  std::size_t since_fit_ = 0;
  std::vector<double> sorted_;
  double tail_start_ = 0.0;
  double tail_share_ = 0.0;
  double tail_shape_ = 0.0;  // k
  double tail_scale_ = 0.0;  // sigma; 0: no tail, ranks alone
  std::uint64_t drifts_ = 0;
};

}  // namespace driftlock
