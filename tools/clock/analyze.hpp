// driftlock clock analyze: stability of a recorded clock, printed and drawn.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tools/clock/series.hpp"

namespace driftlock::cli {

struct AnalyzeOptions {
  SeriesOptions series;
  std::vector<std::size_t> averaging;  // empty: 1, 2, 4 ...
  std::string svg;                     // file to draw into; empty: none
};
[[nodiscard]] int analyze_command(const AnalyzeOptions& options, bool json);

}  // namespace driftlock::cli
