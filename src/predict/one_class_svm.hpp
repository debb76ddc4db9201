// One-Class SVM with a Gaussian kernel, batch (libsvm) and online (random Fourier features).
//   minimize |w|^2 / 2 - rho + 1/(nu n) sum max(0, rho - <w, phi(x)>)
// score = rho - <w, phi(x)>: higher is stranger, 0 at the boundary that leaves about nu of the data
// outside. Features are standardized first; gamma = 1 / columns.
// Sources: B. Schoelkopf et al., "Estimating the support of a high-dimensional distribution", 2001;
// A. Rahimi, B. Recht, "Random features for large-scale kernel machines", 2007.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "src/predict/matrix.hpp"
#include "src/predict/random.hpp"

namespace driftlock {

// Subtracts the mean and divides by the deviation, column by column.
class Standardizer {
 public:
  explicit Standardizer(const Matrix& data);
  void apply(std::span<const double> row, std::span<double> out) const;

 private:
  std::vector<double> means_;
  std::vector<double> scales_;
};

class OneClassSvm {
 public:
  OneClassSvm(const Matrix& data, double nu);
  ~OneClassSvm();
  OneClassSvm(const OneClassSvm&) = delete;
  OneClassSvm& operator=(const OneClassSvm&) = delete;
  [[nodiscard]] double score(std::span<const double> row) const;

 private:
  struct Model;
  Standardizer standardizer_;
  std::unique_ptr<Model> model_;
};

// Learns one point at a time and forgets at the rate of its step: the last 1/rate points count.
class OnlineOneClassSvm {
 public:
  OnlineOneClassSvm(std::size_t columns, std::uint64_t seed, double nu, double rate = 1.0 / 2048,
                    std::size_t features = 256);
  [[nodiscard]] double score(std::span<const double> row) const;
  // Returns what score() said before.
  double learn(std::span<const double> row);

 private:
  void map(std::span<const double> row) const;

  const std::size_t columns_;
  const std::size_t features_;
  const double nu_;
  const double rate_;
  // Single precision: a score is a mean over many features, and twice as many fit an instruction.
  std::vector<float> directions_;  // columns x features, in turns
  std::vector<float> phases_;      // in turns
  std::vector<double> means_;      // of the columns, forgetting
  std::vector<double> variances_;
  std::vector<float> weights_;
  mutable std::vector<float> mapped_;  // of the last row looked at
  double rho_ = 0.0;
  std::uint64_t learnt_ = 0;
};

}  // namespace driftlock
