// Matrix: rows of observations, columns of features, in one block. What detectors learn from.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "src/base/assert.hpp"

namespace driftlock {

class Matrix {
 public:
  explicit Matrix(std::size_t columns) : columns_(columns) { DRIFTLOCK_ASSERT(columns > 0); }

  void add(std::span<const double> row) {
    DRIFTLOCK_ASSERT(row.size() == columns_);
    values_.insert(values_.end(), row.begin(), row.end());
  }
  // Overwrites the row at `index`.
  void set(std::size_t index, std::span<const double> row) {
    for (std::size_t i = 0; i < columns_; ++i) values_[index * columns_ + i] = row[i];
  }
  [[nodiscard]] std::span<const double> row(std::size_t index) const {
    return {values_.data() + index * columns_, columns_};
  }
  [[nodiscard]] double at(std::size_t row, std::size_t column) const {
    return values_[row * columns_ + column];
  }
  [[nodiscard]] std::size_t rows() const { return values_.size() / columns_; }
  [[nodiscard]] std::size_t columns() const { return columns_; }

 private:
  std::size_t columns_;
  std::vector<double> values_;
};

}  // namespace driftlock
