#include "src/node/namespace_rules.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

namespace driftlock {
namespace {

constexpr const char* kAllowed =
    "policy=wait|fence, predict=off|shadow|act, suspect_one_in=1..1000000000, locks_max=0.., "
    "sessions_max=0.., acquires_per_second_max=0..";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::vector<std::string_view> parts_of(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    if (const auto part = trimmed(text.substr(0, end)); !part.empty()) parts.push_back(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

bool whole(std::string_view text, std::uint32_t most, std::uint32_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && out <= most;
}

bool set_rule(NamespaceOptions& options, std::string_view key, std::string_view value) {
  constexpr std::uint32_t kMost = 0xFFFFFFFF;
  std::uint32_t number = 0;
  if (key == "policy") {
    options.fence = value == "fence";
    return value == "fence" || value == "wait";
  }
  if (key == "predict") return parse_mode(value, options.prediction);
  if (key == "locks_max") return whole(value, kMost, options.locks_max);
  if (key == "sessions_max") return whole(value, kMost, options.sessions_max);
  if (key == "acquires_per_second_max") return whole(value, kMost, options.acquires_per_second_max);
  if (key != "suspect_one_in" || !whole(value, 1'000'000'000, number) || number == 0) return false;
  options.suspect_strangeness = std::log(static_cast<float>(number));
  return true;
}

Error refused(std::string_view rule, std::string_view part) {
  return Error{"\"" + std::string(part) + "\" in \"" + std::string(rule) +
               "\": a rule is ID: key=value, ...; allowed is " + kAllowed};
}

}  // namespace

Result<std::vector<NamespaceOptions>> parse_namespace_rules(const std::string& text) {
  std::vector<NamespaceOptions> spaces;
  for (const std::string_view rule : parts_of(text, ';')) {
    const auto colon = std::min(rule.find(':'), rule.size());
    std::uint32_t id = 0;
    if (colon == rule.size() || !whole(trimmed(rule.substr(0, colon)), 0xFFFF, id)) {
      return refused(rule, trimmed(rule.substr(0, colon)));
    }
    NamespaceOptions options;
    options.id = static_cast<std::uint16_t>(id);
    for (const std::string_view part : parts_of(rule.substr(colon + 1), ',')) {
      const auto equals = std::min(part.find('='), part.size());
      const std::string_view value =
          equals < part.size() ? trimmed(part.substr(equals + 1)) : std::string_view{};
      if (!set_rule(options, trimmed(part.substr(0, equals)), value)) return refused(rule, part);
    }
    const bool twice = std::any_of(spaces.begin(), spaces.end(), [&](const NamespaceOptions& one) {
      return one.id == options.id;
    });
    if (twice) return Error{"namespace " + std::to_string(id) + " has two rules"};
    spaces.push_back(options);
  }
  return spaces;
}

}  // namespace driftlock
