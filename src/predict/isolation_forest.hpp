// Isolation Forest, batch and streaming. A point that random cuts separate from a sample after few
// cuts is strange: score = 2^(-mean path length / c(n)), c(n) = 2 H(n-1) - 2 (n-1)/n, the mean path
// of an unsuccessful search in a binary tree of n. Higher is stranger, in (0, 1).
// Source: F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation Forest", ICDM 2008.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "src/predict/matrix.hpp"
#include "src/predict/random.hpp"

namespace driftlock {

inline constexpr std::size_t kForestTrees = 100;
inline constexpr std::size_t kForestSample = 256;

class IsolationTree {
 public:
  // Grown over the rows named by `sample` (reordered), to a depth of ceil(log2(|sample|)).
  void grow(const Matrix& data, std::span<std::uint32_t> sample, Random& random);
  [[nodiscard]] double path_length(std::span<const double> row) const;

 private:
  // Small, so that a forest stays in the cache.
  struct Node {
    float value = 0.0F;      // of a leaf: its depth + c(rows that ended there); else the cut
    std::uint32_t left = 0;  // right is left + 1; 0: a leaf
    std::uint32_t feature = 0;
  };
  struct Range {
    double least = 0.0;
    double most = 0.0;
  };

  void split(std::uint32_t node, const Matrix& data, std::span<std::uint32_t> sample,
             std::size_t depth, std::size_t depth_max, Random& random);
  static bool choose_cut(const Matrix& data, std::span<const std::uint32_t> sample, Random& random,
                         Node& node);

  std::vector<Node> nodes_;
};

// Mean path length of an unsuccessful search among n.
[[nodiscard]] double mean_search_path(std::size_t n);

class IsolationForest {
 public:
  IsolationForest(const Matrix& data, std::uint64_t seed, std::size_t trees = kForestTrees,
                  std::size_t sample = kForestSample);
  [[nodiscard]] double score(std::span<const double> row) const;

 private:
  std::vector<IsolationTree> trees_;
  double normal_path_;
};

// The streaming form: it remembers the last `window` points and regrows its oldest tree over a
// sample of them after every window / trees points, so that a tree is never older than one window
// and what is forgotten is forgotten for good. Memory is bounded by window and trees.
class StreamingForest {
 public:
  StreamingForest(std::size_t columns, std::uint64_t seed, std::size_t window = 2048,
                  std::size_t trees = kForestTrees, std::size_t sample = kForestSample);

  // One half until the first kYoungest points have been learnt.
  [[nodiscard]] double score(std::span<const double> row) const;
  void learn(std::span<const double> row);
  [[nodiscard]] bool ready() const { return !trees_.empty(); }

  static constexpr std::size_t kYoungest = 32;

 private:
  void regrow(std::size_t tree);

  const std::size_t window_;
  const std::size_t tree_count_;
  const std::size_t sample_;
  Matrix points_;
  Random random_;
  std::vector<IsolationTree> trees_;
  std::vector<double> normal_paths_;  // by tree: its own sample's
  std::uint64_t learnt_ = 0;
  std::size_t next_tree_ = 0;
};

}  // namespace driftlock
