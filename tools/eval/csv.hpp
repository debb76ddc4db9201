// CSV tables for the evaluation commands, as they come from many hands: with or without a line of
// names, separated by comma, semicolon or tab, with gaps, words among the numbers, labels by
// several conventions.
#pragma once

#include <string>
#include <vector>

#include "src/base/result.hpp"
#include "src/predict/matrix.hpp"

namespace driftlock::eval {

struct Cells {
  std::vector<std::string> names;  // empty: the file has no line of them
  std::vector<std::vector<std::string>> rows;
};

struct LabelledTable {
  Matrix features{1};         // each column with mean 0 and deviation 1; gaps are its median
  std::vector<bool> strange;  // anomalies
  std::size_t gaps = 0;       // cells without a value
  std::size_t words = 0;      // columns of words, which stand for how frequent each is
};

// Every row has as many cells as the first, or an Error says which has not.
[[nodiscard]] Result<Cells> read_cells(const std::string& path);
// The label is the column of that name (or class, target, outlier, anomaly, y...), else the last.
// 0, -1 beside 1 where 1 is rarer, "normal" and the like are ordinary; of two other values the
// frequent one.
[[nodiscard]] Result<LabelledTable> read_labelled(const std::string& path);

}  // namespace driftlock::eval
