// The table of options as text: for --help, for --print-config and for docs/configuration.md.
#include <algorithm>

#include "src/node/options.hpp"

namespace driftlock {
namespace {

std::string toml_text(std::int64_t number) {
  return std::to_string(number);
}
std::string toml_text(bool flag) {
  return flag ? "true" : "false";
}
std::string toml_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string allowed_of(const WholeNumber& kind) {
  return std::to_string(kind.minimum) + " to " + std::to_string(kind.maximum);
}
std::string allowed_of(const Flag&) {
  return "true, false";
}
std::string allowed_of(const Choice& kind) {
  std::string names;
  for (const char* name : kind.allowed) {
    if (!names.empty()) names += ", ";
    names += toml_text(std::string(name));
  }
  return names;
}
std::string allowed_of(const Text& kind) {
  return kind.allowed;
}

// Lines of at most `width` columns, each after `indent`.
std::string wrapped(const std::string& text, const std::string& indent, std::size_t width) {
  std::string out;
  std::string line = indent;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (line.size() > indent.size() && line.size() + 1 + (end - at) > width) {
      out += line + "\n";
      line = indent;
    }
    if (line.size() > indent.size()) line += ' ';
    line += text.substr(at, end - at);
    at = end + 1;
  }
  return out + line + "\n";
}

}  // namespace

std::string allowed_text(const OptionRow& row) {
  return std::visit([](const auto& kind) { return allowed_of(kind); }, row.kind);
}

std::string value_text(const Options& options, const OptionRow& row) {
  // field() finds the place for readers and writers alike.
  Options copy = options;
  return std::visit([&](const auto& kind) { return toml_text(kind.field(copy)); }, row.kind);
}

std::string options_toml(const Options& options) {
  std::string out;
  for (const OptionSection& section : option_sections()) {
    out += (out.empty() ? "[" : "\n[") + std::string(section.name) + "]\n";
    for (const OptionRow& row : option_rows()) {
      if (row.section() != section.name) continue;
      out += std::string(row.key()) + " = " + value_text(options, row) + "\n";
    }
  }
  return out;
}

std::string options_help() {
  const Options defaults = default_options();
  std::string out;
  for (const OptionSection& section : option_sections()) {
    out += "\n[" + std::string(section.name) + "]\n" + wrapped(section.help, "", 96);
    for (const OptionRow& row : option_rows()) {
      if (row.section() != section.name) continue;
      out += "  " + std::string(row.name) + " = " + value_text(defaults, row) + "   (" +
             allowed_text(row) + ")\n" + wrapped(row.help, "      ", 96);
    }
  }
  return out;
}

std::string options_markdown() {
  const Options defaults = default_options();
  std::string out =
      "# Configuration\n\n"
      "`driftlockd --config FILE` reads a TOML file; every option has a default, so that a file\n"
      "states only what differs. `driftlockd --check-config FILE` says what is wrong with a file,\n"
      "all of it at once; `driftlockd --config FILE --print-config` shows what is in effect;\n"
      "`--set section.key=value` overrides the file. An unknown key is an error.\n\n"
      "This page is generated: `driftlockd --options-markdown > docs/configuration.md`.\n";
  for (const OptionSection& section : option_sections()) {
    out += "\n## [" + std::string(section.name) + "]\n\n" + wrapped(section.help, "", 100) +
           "\n| key | default | allowed | |\n|---|---|---|---|\n";
    for (const OptionRow& row : option_rows()) {
      if (row.section() != section.name) continue;
      out += "| `" + std::string(row.key()) + "` | `" + value_text(defaults, row) + "` | " +
             allowed_text(row) + " | " + row.help + " |\n";
    }
  }
  return out;
}

}  // namespace driftlock
