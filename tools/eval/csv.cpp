#include "tools/eval/csv.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace driftlock::eval {

Result<std::vector<std::vector<std::string>>> read_cells(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Error{path + ": " + std::strerror(errno)};
  std::vector<std::vector<std::string>> rows;
  std::string line;
  std::getline(file, line);  // names
  while (std::getline(file, line)) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    std::vector<std::string> cells;
    std::istringstream stream(line);
    for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
    if (!rows.empty() && cells.size() != rows.front().size()) {
      return Error{path + ": line " + std::to_string(rows.size() + 2) + " has " +
                   std::to_string(cells.size()) + " cells, the first has " +
                   std::to_string(rows.front().size())};
    }
    rows.push_back(std::move(cells));
  }
  if (rows.empty()) return Error{path + ": no rows below the line of names"};
  return rows;
}

Result<LabelledTable> read_labelled(const std::string& path) {
  auto cells = read_cells(path);
  if (!cells) return cells.error();
  const std::size_t columns = cells->front().size();
  if (columns < 2) return Error{path + ": at least one feature and the label are needed"};
  LabelledTable table;
  table.features = Matrix(columns - 1);
  std::vector<double> row(columns);
  for (const auto& line : *cells) {
    for (std::size_t i = 0; i < columns; ++i) {
      char* end = nullptr;
      row[i] = std::strtod(line[i].c_str(), &end);
      if (end == line[i].c_str()) return Error{path + ": '" + line[i] + "' is not a number"};
    }
    table.features.add({row.data(), columns - 1});
    table.strange.push_back(row.back() != 0.0);
  }
  return table;
}

}  // namespace driftlock::eval
