#include "tools/clock/series.hpp"

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "src/clock/replay.hpp"

namespace driftlock::cli {
namespace {

Result<std::vector<double>> read_values(const SeriesOptions& options) {
  std::ifstream file(options.file);
  if (!file) return Error{options.file + ": " + std::strerror(errno)};
  std::vector<double> values;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    int column = 0;
    while (column < options.column && words >> word) ++column;
    if (column == 0) continue;
    char* end = nullptr;
    const double value = std::strtod(word.c_str(), &end);
    if (column < options.column || end == word.c_str() || *end != '\0' || !std::isfinite(value)) {
      return Error{options.file + ":" + std::to_string(number) + ": no number in column " +
                   std::to_string(options.column)};
    }
    values.push_back(value * options.scale);
  }
  return values;
}

// A recording of `record`: local time by nominal ticks less what the source said.
Result<std::vector<double>> read_samples(const SeriesOptions& options) {
  std::ifstream file(options.file);
  if (!file) return Error{options.file + ": " + std::strerror(errno)};
  std::vector<double> phase;
  std::string line;
  double ns_per_tick = 0.0;
  std::uint64_t first_ticks = 0;
  std::int64_t first_tai_ns = 0;
  while (std::getline(file, line)) {
    const std::size_t rate = line.find("ns_per_tick ");
    if (rate != std::string::npos) ns_per_tick = std::strtod(line.c_str() + rate + 12, nullptr);
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::uint64_t before = 0;
    std::uint64_t after = 0;
    std::int64_t tai_ns = 0;
    if (!(words >> before >> after >> tai_ns) || ns_per_tick <= 0.0) {
      return Error{options.file + ": not a recording of `driftlock clock record`"};
    }
    const std::uint64_t middle = before + (after - before) / 2;
    if (phase.empty()) {
      first_ticks = middle;
      first_tai_ns = tai_ns;
    }
    phase.push_back(static_cast<double>(middle - first_ticks) * ns_per_tick -
                    static_cast<double>(tai_ns - first_tai_ns));
  }
  if (phase.size() < 8) return Error{options.file + ": fewer than 8 samples"};
  return phase;
}

double four_digits(double value) {
  if (value == 0.0) return 0.0;
  const double unit = std::pow(10.0, std::floor(std::log10(std::fabs(value))) - 3.0);
  return std::round(value / unit) * unit;
}

}  // namespace

Result<std::vector<double>> read_phase_ns(const SeriesOptions& options) {
  if (options.input == "samples") return read_samples(options);
  auto values = read_values(options);
  if (!values.ok()) return values;
  if (values->size() < 8) return Error{options.file + ": fewer than 8 values"};
  std::vector<double>& v = values.value();
  if (options.input == "offset") return values;
  if (options.input == "phase-s") {
    for (double& x : v) x *= 1e9;
    return values;
  }
  if (options.input == "freq-hz") {
    const double nominal = options.nominal_hz > 0.0 ? options.nominal_hz : four_digits(v.front());
    if (nominal <= 0.0) return Error{options.file + ": a frequency in Hz is positive"};
    for (double& y : v) y = (y - nominal) / nominal;
  }
  return phase_from_frequency(v, options.interval_s);
}

}  // namespace driftlock::cli
