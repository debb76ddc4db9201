#include "tools/driftlock/settings.hpp"

#include <toml++/toml.h>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

namespace driftlock::cli {
namespace {

template <typename T>
Status take_number(const toml::table& file, const char* name, T& value) {
  const auto node = file[name];
  if (!node) return done();
  const std::optional<std::int64_t> number = node.value<std::int64_t>();
  if (!number || *number < 0 ||
      static_cast<std::uint64_t>(*number) > std::numeric_limits<T>::max()) {
    return Error{std::string(name) + " must be a whole number in range"};
  }
  value = static_cast<T>(*number);
  return done();
}

Status take_string(const toml::table& file, const char* name, std::string& value) {
  const auto node = file[name];
  if (!node) return done();
  const std::optional<std::string> text = node.value<std::string>();
  if (!text) return Error{std::string(name) + " must be a string"};
  value = *text;
  return done();
}

Status read_table(const toml::table& file, Settings& settings) {
  for (const auto& [name, value] : file) {
    const std::string_view known[] = {"server", "key_file", "client_id", "namespace", "admin"};
    if (std::find(std::begin(known), std::end(known), name.str()) == std::end(known)) {
      return Error{"unknown setting " + std::string(name.str())};
    }
  }
  std::uint64_t client_id = settings.client_id.value_or(0);
  for (const Status& status :
       {take_string(file, "server", settings.server), take_string(file, "admin", settings.admin),
        take_string(file, "key_file", settings.key_file),
        take_number(file, "namespace", settings.namespace_id),
        take_number(file, "client_id", client_id)}) {
    if (!status.ok()) return status;
  }
  if (client_id != 0) settings.client_id = client_id;
  return done();
}

}  // namespace

Status load_settings(const std::string& path, bool required, Settings& settings) {
  std::error_code ignored;
  if (!required && !std::filesystem::exists(path, ignored)) return done();
  try {
    const Status read = read_table(toml::parse_file(path), settings);
    if (!read.ok()) return Error{path + ": " + read.error().message};
    return done();
  } catch (const toml::parse_error& error) {
    return Error{path + ": " + std::string(error.description())};
  }
}

Result<Nanoseconds> parse_duration(const std::string& text) {
  if (text == "forever") return kNever;
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const std::string unit = end;
  double scale = 0;
  if (unit.empty() || unit == "s") scale = 1e9;
  if (unit == "ms") scale = 1e6;
  if (unit == "us") scale = 1e3;
  if (unit == "m") scale = 60e9;
  if (unit == "h") scale = 3600e9;
  constexpr double kLongest = 1e9 * 86400 * 366;
  if (end == text.c_str() || scale == 0 || !(number >= 0) || number * scale > kLongest) {
    return Error{"\"" + text + "\" is not a duration such as 2.5, 500ms, 10s, 5m, 1h or forever"};
  }
  return static_cast<Nanoseconds>(std::llround(number * scale));
}

}  // namespace driftlock::cli
