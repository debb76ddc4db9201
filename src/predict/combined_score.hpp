// The combined detector: isolation forest and one-class SVM, each calibrated to a tail probability,
// joined by Fisher's sum of -ln p, and calibrated again. One says what is easily cut off, the other
// what lies outside the mass of the data. Scores are -ln of probabilities: 0 ordinary, 9.2 is 1 in
// 10,000. Source of the sum: R. A. Fisher, "Statistical methods for research workers", 1932.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "src/predict/isolation_forest.hpp"
#include "src/predict/matrix.hpp"
#include "src/predict/one_class_svm.hpp"
#include "src/predict/tail_calibrator.hpp"

namespace driftlock {

class CombinedBatch {
 public:
  CombinedBatch(const Matrix& data, std::uint64_t seed, double nu);
  [[nodiscard]] double score(std::span<const double> row) const;

 private:
  IsolationForest forest_;
  OneClassSvm svm_;
  TailCalibrator forest_tail_;
  TailCalibrator svm_tail_;
};

// What one feature adds to a score.
struct Contribution {
  std::size_t feature = 0;
  double amount = 0.0;  // how much the score falls where the feature is put at its usual value
};

class CombinedStream {
 public:
  CombinedStream(std::size_t columns, std::uint64_t seed, double nu);

  [[nodiscard]] double score(std::span<const double> row) const;
  // True where at most a share `rate` of ordinary points would score as high.
  [[nodiscard]] bool alarm(double score, double rate) const { return tail_.alarm(score, rate); }
  [[nodiscard]] bool calibrated_for(double rate) const { return tail_.reaches(rate); }
  [[nodiscard]] double strangeness(double score) const { return tail_.strangeness(score); }
  // A row is judged, for the calibration, by what was known before it.
  void learn(std::span<const double> row);
  // The features that made the score, largest first.
  [[nodiscard]] std::vector<Contribution> explain(std::span<const double> row) const;

 private:
  StreamingForest forest_;
  OnlineOneClassSvm svm_;
  TailCalibrator forest_tail_;
  TailCalibrator svm_tail_;
  TailCalibrator tail_;
  std::vector<double> usual_;  // running mean of each feature
  std::uint64_t learnt_ = 0;
};

}  // namespace driftlock
