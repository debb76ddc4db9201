#include "src/predict/isolation_forest.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace driftlock {
namespace {

// `count` different indices below `rows`, by a partial Fisher-Yates shuffle.
std::vector<std::uint32_t> sample_of(std::size_t rows, std::size_t count, Random& random) {
  std::vector<std::uint32_t> indices(rows);
  std::iota(indices.begin(), indices.end(), 0U);
  count = std::min(count, rows);
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(indices[i], indices[i + random.below(rows - i)]);
  }
  indices.resize(count);
  return indices;
}

}  // namespace

double mean_search_path(std::size_t n) {
  if (n <= 1) return 0.0;
  if (n == 2) return 1.0;
  const auto count = static_cast<double>(n);
  const double harmonic = std::log(count - 1.0) + std::numbers::egamma;
  return 2.0 * harmonic - 2.0 * (count - 1.0) / count;
}

void IsolationTree::grow(const Matrix& data, std::span<std::uint32_t> sample, Random& random) {
  nodes_.clear();
  nodes_.reserve(2 * sample.size());
  nodes_.emplace_back();
  const auto depth_max =
      static_cast<std::size_t>(std::bit_width(std::max<std::size_t>(sample.size(), 2) - 1));
  split(0, data, sample, 0, depth_max, random);
}

// A feature that does not vary here cannot cut: the choice is among those that do.
bool IsolationTree::choose_cut(const Matrix& data, std::span<const std::uint32_t> sample,
                               Random& random, Node& node) {
  std::size_t varying = 0;
  Range range;
  for (std::size_t feature = 0; feature < data.columns(); ++feature) {
    Range here{data.at(sample[0], feature), data.at(sample[0], feature)};
    for (const std::uint32_t row : sample) {
      here.least = std::min(here.least, data.at(row, feature));
      here.most = std::max(here.most, data.at(row, feature));
    }
    if (!(here.least < here.most)) continue;
    // Each of the varying ones with equal chance, in one pass.
    if (random.below(++varying) != 0) continue;
    node.feature = static_cast<std::uint32_t>(feature);
    range = here;
  }
  if (varying == 0) return false;
  node.value = static_cast<float>(range.least + random.uniform() * (range.most - range.least));
  return true;
}

void IsolationTree::split(std::uint32_t node, const Matrix& data, std::span<std::uint32_t> sample,
                          std::size_t depth, std::size_t depth_max, Random& random) {
  Node cut;
  if (depth >= depth_max || sample.size() <= 1 || !choose_cut(data, sample, random, cut)) {
    nodes_[node].value =
        static_cast<float>(static_cast<double>(depth) + mean_search_path(sample.size()));
    return;
  }
  const auto middle = std::partition(sample.begin(), sample.end(), [&](std::uint32_t row) {
    return data.at(row, cut.feature) <= static_cast<double>(cut.value);
  });
  const auto left_rows = static_cast<std::size_t>(middle - sample.begin());
  cut.left = static_cast<std::uint32_t>(nodes_.size());
  nodes_[node] = cut;
  nodes_.emplace_back();
  nodes_.emplace_back();
  split(cut.left, data, sample.first(left_rows), depth + 1, depth_max, random);
  split(cut.left + 1, data, sample.subspan(left_rows), depth + 1, depth_max, random);
}

double IsolationTree::path_length(std::span<const double> row) const {
  const Node* node = nodes_.data();
  while (node->left != 0) {
    node = &nodes_[node->left + (row[node->feature] <= static_cast<double>(node->value) ? 0U : 1U)];
  }
  return static_cast<double>(node->value);
}

IsolationForest::IsolationForest(const Matrix& data, std::uint64_t seed, std::size_t trees,
                                 std::size_t sample)
    : trees_(trees), normal_path_(mean_search_path(std::min(sample, data.rows()))) {
  Random random(seed);
  for (IsolationTree& tree : trees_) {
    auto rows = sample_of(data.rows(), sample, random);
    tree.grow(data, rows, random);
  }
}

double IsolationForest::score(std::span<const double> row) const {
  double length = 0.0;
  for (const IsolationTree& tree : trees_) length += tree.path_length(row);
  return std::exp2(-length / static_cast<double>(trees_.size()) / normal_path_);
}

StreamingForest::StreamingForest(std::size_t columns, std::uint64_t seed, std::size_t window,
                                 std::size_t trees, std::size_t sample)
    : window_(window), tree_count_(trees), sample_(sample), points_(columns), random_(seed) {}

double StreamingForest::score(std::span<const double> row) const {
  if (!ready()) return 0.5;
  double relative = 0.0;
  for (std::size_t i = 0; i < trees_.size(); ++i) {
    relative += trees_[i].path_length(row) / normal_paths_[i];
  }
  return std::exp2(-relative / static_cast<double>(trees_.size()));
}

void StreamingForest::learn(std::span<const double> row) {
  if (points_.rows() < window_) {
    points_.add(row);
  } else {
    points_.set(learnt_ % window_, row);
  }
  ++learnt_;
  // Young, every tree is grown anew at each doubling: the first ones knew too little.
  const bool doubled = (learnt_ & (learnt_ - 1)) == 0;
  if (learnt_ <= 2 * sample_ && learnt_ >= kYoungest && doubled) {
    trees_.resize(tree_count_);
    normal_paths_.resize(tree_count_);
    for (std::size_t i = 0; i < tree_count_; ++i) regrow(i);
    return;
  }
  const std::size_t period = std::max<std::size_t>(window_ / tree_count_, 1);
  if (ready() && learnt_ % period == 0) {
    regrow(next_tree_);
    next_tree_ = (next_tree_ + 1) % tree_count_;
  }
}

void StreamingForest::regrow(std::size_t tree) {
  auto rows = sample_of(points_.rows(), sample_, random_);
  normal_paths_[tree] = mean_search_path(rows.size());
  trees_[tree].grow(points_, rows, random_);
}

}  // namespace driftlock
