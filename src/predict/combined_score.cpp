#include "src/predict/combined_score.hpp"

#include <algorithm>

namespace driftlock {
namespace {
constexpr double kUsualRate = 1.0 / 2048;
constexpr std::size_t kPartWindow = 4096;
// Rates down to 1e-4 are to be counted more than extrapolated.
constexpr std::size_t kWholeWindow = 65536;
}  // namespace

CombinedBatch::CombinedBatch(const Matrix& data, std::uint64_t seed, double nu)
    : forest_(data, seed), svm_(data, nu), forest_tail_(data.rows()), svm_tail_(data.rows()) {
  for (std::size_t i = 0; i < data.rows(); ++i) {
    forest_tail_.learn(forest_.score(data.row(i)));
    svm_tail_.learn(svm_.score(data.row(i)));
  }
  forest_tail_.refit();
  svm_tail_.refit();
}

double CombinedBatch::score(std::span<const double> row) const {
  return forest_tail_.strangeness(forest_.score(row)) + svm_tail_.strangeness(svm_.score(row));
}

CombinedStream::CombinedStream(std::size_t columns, std::uint64_t seed, double nu)
    : forest_(columns, seed),
      svm_(columns, seed, nu),
      forest_tail_(kPartWindow),
      svm_tail_(kPartWindow),
      tail_(kWholeWindow),
      usual_(columns) {}

double CombinedStream::score(std::span<const double> row) const {
  return forest_tail_.strangeness(forest_.score(row)) + svm_tail_.strangeness(svm_.score(row));
}

void CombinedStream::learn(std::span<const double> row) {
  const bool ready = forest_.ready();
  const double forest_score = forest_.score(row);
  const double svm_score = svm_.learn(row);
  forest_.learn(row);
  if (ready) {
    if (forest_tail_.known() > TailCalibrator::kFirstFit) {
      tail_.learn(forest_tail_.strangeness(forest_score) + svm_tail_.strangeness(svm_score));
    }
    forest_tail_.learn(forest_score);
    svm_tail_.learn(svm_score);
  }
  ++learnt_;
  const double rate = std::max(kUsualRate, 1.0 / static_cast<double>(learnt_));
  for (std::size_t i = 0; i < usual_.size(); ++i) usual_[i] += rate * (row[i] - usual_[i]);
}

std::vector<Contribution> CombinedStream::explain(std::span<const double> row) const {
  const double whole = score(row);
  std::vector<double> other(row.begin(), row.end());
  std::vector<Contribution> contributions;
  for (std::size_t i = 0; i < other.size(); ++i) {
    other[i] = usual_[i];
    contributions.push_back({i, whole - score(other)});
    other[i] = row[i];
  }
  std::sort(contributions.begin(), contributions.end(),
            [](const Contribution& a, const Contribution& b) { return a.amount > b.amount; });
  return contributions;
}

}  // namespace driftlock
