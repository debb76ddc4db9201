#include "tools/eval/csv.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>

namespace driftlock::eval {
namespace {

std::string lower(std::string text) {
  for (char& letter : text) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return text;
}

template <std::size_t N>
bool is_one_of(const std::string& text, const std::array<const char*, N>& words) {
  return std::any_of(words.begin(), words.end(), [&](const char* word) { return text == word; });
}

bool is_missing(const std::string& cell) {
  constexpr std::array<const char*, 9> kMissing = {"",     "na", "n/a", "nan", "null",
                                                   "none", "?",  "-",   "."};
  return is_one_of(lower(cell), kMissing);
}

// Nothing where the cell is empty, infinite or no number.
std::optional<double> number_of(const std::string& cell) {
  char* end = nullptr;
  const double value = std::strtod(cell.c_str(), &end);
  if (end == cell.c_str() || *end != '\0' || !std::isfinite(value)) return std::nullopt;
  return value;
}

char separator_of(const std::string& line) {
  char best = ',';
  for (const char candidate : {';', '\t'}) {
    if (std::count(line.begin(), line.end(), candidate) >
        std::count(line.begin(), line.end(), best)) {
      best = candidate;
    }
  }
  return best;
}

std::vector<std::string> split(const std::string& line, char separator) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (const char letter : line) {
    if (letter == '"') {
      quoted = !quoted;
    } else if (letter == separator && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += letter;
    }
  }
  for (std::string& cell : cells) {
    const auto begin = cell.find_first_not_of(" \t\r");
    const auto end = cell.find_last_not_of(" \t\r");
    cell = begin == std::string::npos ? "" : cell.substr(begin, end - begin + 1);
  }
  return cells;
}

// A line of names has words where the rows have numbers.
bool are_names(const std::vector<std::string>& first, const std::vector<std::string>& second) {
  for (std::size_t i = 0; i < first.size() && i < second.size(); ++i) {
    const bool word = !number_of(first[i]) && !is_missing(first[i]);
    if (word && (number_of(second[i]) || is_missing(second[i]))) return true;
  }
  return false;
}

std::size_t label_column(const Cells& cells) {
  constexpr std::array<const char*, 11> kLabels = {
      "label",      "labels",     "class",        "target",       "outlier", "anomaly",
      "is_anomaly", "is_outlier", "ground_truth", "ground.truth", "y"};
  for (std::size_t i = cells.names.size(); i-- > 0;) {
    if (is_one_of(lower(cells.names[i]), kLabels)) return i;
  }
  return cells.rows.front().size() - 1;
}

// By what is written, the value that means ordinary; nothing where only counting can tell.
std::optional<std::string> ordinary_value(const std::map<std::string, std::size_t>& values) {
  constexpr std::array<const char*, 12> kOrdinary = {"normal",   "inlier", "benign",   "nominal",
                                                     "no",       "n",      "false",    "neg",
                                                     "negative", "ok",     "ordinary", "normal."};
  for (const auto& [value, count] : values) {
    if (is_one_of(lower(value), kOrdinary)) return value;
    if (number_of(value) && *number_of(value) == 0.0) return value;
  }
  return std::nullopt;
}

Status read_labels(const std::string& path, const Cells& cells, std::size_t column,
                   std::vector<bool>& strange) {
  std::map<std::string, std::size_t> values;
  for (const auto& row : cells.rows) ++values[row[column]];
  std::optional<std::string> ordinary = ordinary_value(values);
  if (!ordinary && values.size() == 2) {
    ordinary = std::max_element(values.begin(), values.end(), [](const auto& a, const auto& b) {
                 return a.second < b.second;
               })->first;
  }
  if (!ordinary || values.size() < 2) {
    return Error{
        path + ": the label (column " + std::to_string(column + 1) + ") has " +
        std::to_string(values.size()) +
        " different values; 0 for ordinary and 1 for an anomaly are needed, or two others"};
  }
  for (const auto& row : cells.rows) strange.push_back(row[column] != *ordinary);
  return done();
}

// A column of words: each stands for how frequent it is.
std::vector<double> frequencies(const Cells& cells, std::size_t column) {
  std::map<std::string, std::size_t> counts;
  for (const auto& row : cells.rows) ++counts[row[column]];
  std::vector<double> values;
  for (const auto& row : cells.rows) values.push_back(static_cast<double>(counts[row[column]]));
  return values;
}

std::vector<double> read_column(const Cells& cells, std::size_t column, LabelledTable& table) {
  std::vector<double> known;
  std::size_t words = 0;
  for (const auto& row : cells.rows) {
    if (const auto value = number_of(row[column])) {
      known.push_back(*value);
    } else if (!is_missing(row[column]) && lower(row[column]).find("inf") == std::string::npos) {
      ++words;
    }
  }
  if (words > known.size()) {
    ++table.words;
    return frequencies(cells, column);
  }
  double median = 0.0;
  if (!known.empty()) {
    const auto middle = known.begin() + static_cast<std::ptrdiff_t>(known.size() / 2);
    std::nth_element(known.begin(), middle, known.end());
    median = *middle;
  }
  table.gaps += cells.rows.size() - known.size();
  std::vector<double> values;
  for (const auto& row : cells.rows) values.push_back(number_of(row[column]).value_or(median));
  return values;
}

// Neither detector depends on a column's scale; cuts are kept in single precision, which does.
void standardize(std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  double largest = 0.0;
  for (const double value : values) largest = std::max(largest, std::fabs(value));
  double mean = 0.0;
  for (const double value : values) mean += value / count;
  double squares = 0.0;
  const double unit = largest > 0.0 ? largest : 1.0;  // so that no square overflows
  for (double& value : values) {
    value = (value - mean) / unit;
    squares += value * value / count;
  }
  const double deviation = std::sqrt(squares);
  for (double& value : values) value = deviation > 1e-12 ? value / deviation : 0.0;
}

}  // namespace

Result<Cells> read_cells(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Error{path + ": " + std::strerror(errno)};
  Cells cells;
  char separator = 0;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (number == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);  // byte order mark
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (separator == 0) separator = separator_of(line);
    auto row = split(line, separator);
    if (!cells.rows.empty() && row.size() != cells.rows.front().size()) {
      return Error{path + ": line " + std::to_string(number) + " has " +
                   std::to_string(row.size()) + " cells, the first has " +
                   std::to_string(cells.rows.front().size())};
    }
    cells.rows.push_back(std::move(row));
  }
  if (cells.rows.size() >= 2 && are_names(cells.rows[0], cells.rows[1])) {
    cells.names = std::move(cells.rows.front());
    cells.rows.erase(cells.rows.begin());
  }
  if (cells.rows.size() < 2) return Error{path + ": at least two rows of values are needed"};
  return cells;
}

Result<LabelledTable> read_labelled(const std::string& path) {
  auto cells = read_cells(path);
  if (!cells) return cells.error();
  const std::size_t columns = cells->rows.front().size();
  if (columns < 2) return Error{path + ": at least one feature and the label are needed"};
  const std::size_t label = label_column(*cells);
  LabelledTable table;
  const Status labelled = read_labels(path, *cells, label, table.strange);
  if (!labelled.ok()) return labelled.error();
  std::vector<std::vector<double>> values;
  for (std::size_t i = 0; i < columns; ++i) {
    if (i == label) continue;
    values.push_back(read_column(*cells, i, table));
    standardize(values.back());
  }
  table.features = Matrix(columns - 1);
  std::vector<double> row(columns - 1);
  for (std::size_t r = 0; r < cells->rows.size(); ++r) {
    for (std::size_t i = 0; i < values.size(); ++i) row[i] = values[i][r];
    table.features.add(row);
  }
  return table;
}

}  // namespace driftlock::eval
