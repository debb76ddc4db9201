// A clock's record from a text file: one value a line (or a column of several), '#' begins a
// comment. Read whole, turned into phase.
#pragma once

#include <string>
#include <vector>

#include "src/base/result.hpp"

namespace driftlock::cli {

struct SeriesOptions {
  std::string file;
  std::string input = "phase-s";  // phase-s, freq-hz, freq, offset (ns), samples
  double interval_s = 1.0;
  double nominal_hz = 0.0;  // of freq-hz; 0: the first value to four digits
  double scale = 1.0;       // factor on each value
  int column = 1;
};

// Phase (the clock's reading less the reference's) in ns, one value each interval.
[[nodiscard]] Result<std::vector<double>> read_phase_ns(const SeriesOptions& options);

}  // namespace driftlock::cli
