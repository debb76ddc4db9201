// Tables of numbers in CSV files, for the evaluation commands.
#pragma once

#include <string>
#include <vector>

#include "src/base/result.hpp"
#include "src/predict/matrix.hpp"

namespace driftlock::eval {

// Features f0.. and a last column `label`, 1 for an anomaly, under a line of names.
struct LabelledTable {
  Matrix features{1};
  std::vector<bool> strange;
};
[[nodiscard]] Result<LabelledTable> read_labelled(const std::string& path);

// Lines without their names, split at commas.
[[nodiscard]] Result<std::vector<std::vector<std::string>>> read_cells(const std::string& path);

}  // namespace driftlock::eval
