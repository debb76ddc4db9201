// driftlock-eval anomaly: ROC-AUC of a detector on a labelled table, over seeds.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <string>

#include "src/predict/combined_score.hpp"
#include "src/predict/evaluation.hpp"
#include "src/predict/isolation_forest.hpp"
#include "src/predict/one_class_svm.hpp"
#include "tools/eval/commands.hpp"
#include "tools/eval/csv.hpp"

namespace driftlock::eval {
namespace {

struct Options {
  std::string file;
  std::string detector = "iforest";
  std::string protocol = "unsupervised";
  bool streaming = false;
  unsigned seeds = 10;
  double nu = 0.5;
};

// libsvm's time grows with the square of the rows: of more than these a random part is learnt.
constexpr std::size_t kSvmRowsMax = 12'000;

// Rows to learn from and rows to judge.
struct Split {
  Matrix train;
  Matrix test;
  std::vector<bool> strange;
};

std::vector<std::size_t> shuffled(std::size_t count, Random& random) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

// Unsupervised: learns from all rows, labels unseen, and judges all of them. Normal: learns from
// half of the normal rows and judges the other half and every anomaly.
Split split(const LabelledTable& table, const Options& options, std::uint64_t seed) {
  const std::size_t columns = table.features.columns();
  Split result{Matrix(columns), Matrix(columns), {}};
  Random random(seed);
  const auto order = shuffled(table.features.rows(), random);
  const auto normals =
      static_cast<std::size_t>(std::count(table.strange.begin(), table.strange.end(), false));
  const bool by_normals = options.protocol == "normal";
  std::size_t trained = 0;
  for (const std::size_t row : order) {
    const bool train = by_normals ? !table.strange[row] && trained < normals / 2 : true;
    if (train) {
      result.train.add(table.features.row(row));
      ++trained;
    }
    if (!train || !by_normals) {
      result.test.add(table.features.row(row));
      result.strange.push_back(table.strange[row]);
    }
  }
  return result;
}

using Judge = std::function<double(std::span<const double>)>;

Judge batch_judge(const Split& data, const Options& options, std::uint64_t seed) {
  if (options.detector == "iforest") {
    auto forest = std::make_shared<IsolationForest>(data.train, seed);
    return [forest](std::span<const double> row) { return forest->score(row); };
  }
  // The rows are in random order already.
  Matrix part(data.train.columns());
  if (data.train.rows() > kSvmRowsMax && options.detector != "iforest") {
    for (std::size_t i = 0; i < kSvmRowsMax; ++i) part.add(data.train.row(i));
  }
  const Matrix& train = part.rows() > 0 ? part : data.train;
  if (options.detector == "ocsvm") {
    auto svm = std::make_shared<OneClassSvm>(train, options.nu);
    return [svm](std::span<const double> row) { return svm->score(row); };
  }
  auto both = std::make_shared<CombinedBatch>(train, seed, options.nu);
  return [both](std::span<const double> row) { return both->score(row); };
}

// Each row is judged before it is learnt; the rows come in the shuffled order.
template <typename Detector>
double stream_auc(const Split& data, Detector& detector) {
  if (data.train.rows() != data.test.rows()) {
    for (std::size_t i = 0; i < data.train.rows(); ++i) detector.learn(data.train.row(i));
  }
  std::vector<double> scores;
  for (std::size_t i = 0; i < data.test.rows(); ++i) {
    scores.push_back(detector.score(data.test.row(i)));
    detector.learn(data.test.row(i));
  }
  return roc_auc(scores, data.strange);
}

double streaming_auc(const Split& data, const Options& options, std::uint64_t seed) {
  const std::size_t columns = data.train.columns();
  if (options.detector == "iforest") {
    StreamingForest forest(columns, seed);
    return stream_auc(data, forest);
  }
  if (options.detector == "ocsvm") {
    OnlineOneClassSvm svm(columns, seed, options.nu);
    return stream_auc(data, svm);
  }
  CombinedStream both(columns, seed, options.nu);
  return stream_auc(data, both);
}

double auc(const LabelledTable& table, const Options& options, std::uint64_t seed) {
  const Split data = split(table, options, seed);
  if (options.streaming) return streaming_auc(data, options, seed);
  const Judge judge = batch_judge(data, options, seed);
  std::vector<double> scores;
  for (std::size_t i = 0; i < data.test.rows(); ++i) scores.push_back(judge(data.test.row(i)));
  return roc_auc(scores, data.strange);
}

void run(const Options& options) {
  auto table = read_labelled(options.file);
  if (!table) {
    std::fprintf(stderr, "%s\n", table.error().message.c_str());
    throw CLI::RuntimeError(1);
  }
  const auto normals = std::count(table->strange.begin(), table->strange.end(), false);
  if (options.protocol == "normal" && normals < 4) {
    std::fprintf(stderr, "%s: --protocol normal needs at least 4 ordinary rows\n",
                 options.file.c_str());
    throw CLI::RuntimeError(1);
  }
  const bool always_same = options.detector == "ocsvm" && !options.streaming &&
                           options.protocol == "unsupervised" &&
                           table->features.rows() <= kSvmRowsMax;
  std::vector<double> areas;
  for (unsigned seed = 1; seed <= options.seeds; ++seed) {
    areas.push_back(always_same && seed > 1 ? areas.front() : auc(*table, options, seed));
  }
  const Spread spread = spread_of(areas);
  const auto anomalies = std::count(table->strange.begin(), table->strange.end(), true);
  std::printf(
      "file=%s rows=%zu features=%zu gaps=%zu anomalies=%td detector=%s form=%s protocol=%s "
      "seeds=%u "
      "auc_mean=%.4f auc_sd=%.4f auc_min=%.4f auc_max=%.4f\n",
      options.file.substr(options.file.rfind('/') + 1).c_str(), table->features.rows(),
      table->features.columns(), table->gaps, static_cast<std::ptrdiff_t>(anomalies),
      options.detector.c_str(), options.streaming ? "streaming" : "batch", options.protocol.c_str(),
      options.seeds, spread.mean, spread.deviation, spread.least, spread.most);
}

}  // namespace

void add_anomaly(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("anomaly", "ROC-AUC of a detector on a labelled CSV file");
  command->add_option("file", options->file, "CSV: features and a column label: 1 is an anomaly")
      ->required();
  command->add_option("--detector", options->detector)
      ->check(CLI::IsMember({"iforest", "ocsvm", "combined"}))
      ->capture_default_str();
  command->add_option("--seeds", options->seeds, "how many runs")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--protocol", options->protocol, "what is learnt from")
      ->check(CLI::IsMember({"unsupervised", "normal"}))
      ->capture_default_str();
  command->add_option("--nu", options->nu, "one-class SVM's nu")->capture_default_str();
  command->add_flag("--streaming", options->streaming, "judge each row, then learn it");
  command->callback([options] { run(*options); });
}

}  // namespace driftlock::eval
