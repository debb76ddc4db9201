// The one file that sees toml++.
#include <toml++/toml.h>

#include <algorithm>
#include <optional>

#include "src/node/options.hpp"

namespace driftlock {
namespace {

std::string place(const std::string& path, const toml::node& node) {
  return path + ":" + std::to_string(node.source().begin.line) + ": ";
}

std::optional<OptionValue> value_of(const toml::node& node) {
  if (const auto* number = node.as_integer()) return OptionValue{number->get()};
  if (const auto* flag = node.as_boolean()) return OptionValue{flag->get()};
  if (const auto* text = node.as_string()) return OptionValue{text->get()};
  return std::nullopt;
}

std::string known_keys(std::string_view section) {
  std::string keys;
  for (const OptionRow& row : option_rows()) {
    if (row.section() != section) continue;
    if (!keys.empty()) keys += ", ";
    keys += row.key();
  }
  return keys;
}

std::string known_sections() {
  std::string names;
  for (const OptionSection& section : option_sections()) {
    if (!names.empty()) names += ", ";
    names += section.name;
  }
  return names;
}

void read_section(Options& options, const std::string& path, std::string_view section,
                  const toml::table& table, std::vector<std::string>& wrong) {
  for (const auto& [key, node] : table) {
    const std::string name = std::string(section) + "." + std::string(key.str());
    const OptionRow* row = find_option(name);
    if (row == nullptr) {
      wrong.push_back(place(path, node) + name + ": no such option; [" + std::string(section) +
                      "] has " + known_keys(section));
      continue;
    }
    const std::optional<OptionValue> value = value_of(node);
    if (!value) {
      wrong.push_back(place(path, node) + name + ": is of the wrong type; allowed is " +
                      allowed_text(*row));
      continue;
    }
    const Status taken = set_option(options, *row, *value);
    if (!taken.ok()) wrong.push_back(place(path, node) + taken.error().message);
  }
}

}  // namespace

std::vector<std::string> read_options_file(Options& options, const std::string& path) {
  std::vector<std::string> wrong;
  try {
    const toml::table file = toml::parse_file(path);
    for (const auto& [key, node] : file) {
      const std::string name(key.str());
      const auto sections = option_sections();
      const bool known = std::any_of(sections.begin(), sections.end(),
                                     [&](const auto& section) { return section.name == name; });
      const toml::table* table = node.as_table();
      if (!known || table == nullptr) {
        wrong.push_back(place(path, node) + name + ": " +
                        (known ? "must be a section, [" + name + "]"
                               : "no such section; there are " + known_sections()));
        continue;
      }
      read_section(options, path, name, *table, wrong);
    }
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;
    wrong.push_back(path + (line != 0 ? ":" + std::to_string(line) : "") + ": " +
                    std::string(error.description()));
  }
  return wrong;
}

}  // namespace driftlock
