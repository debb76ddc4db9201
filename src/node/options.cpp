#include "src/node/options.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <set>
#include <sstream>

#include "src/node/namespace_rules.hpp"

namespace driftlock {
namespace {

template <typename... Cases>
struct Overload : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overload(Cases...) -> Overload<Cases...>;

std::string quoted(const OptionValue& value) {
  return std::visit(Overload{
                        [](std::int64_t number) { return std::to_string(number); },
                        [](bool flag) { return std::string(flag ? "true" : "false"); },
                        [](const std::string& text) { return '"' + text + '"'; },
                    },
                    value);
}

Status refuse(const OptionRow& row, const OptionValue& value) {
  return Error{std::string(row.name) + " = " + quoted(value) + ": allowed is " + allowed_text(row)};
}

bool parse_number(std::string_view text, std::int64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

// A command line has only text: what it means follows from the row.
OptionValue value_of(const OptionRow& row, std::string_view text) {
  std::int64_t number = 0;
  if (std::holds_alternative<WholeNumber>(row.kind) && parse_number(text, number)) return number;
  if (std::holds_alternative<Flag>(row.kind) && (text == "true" || text == "false")) {
    return text == "true";
  }
  return std::string(text);
}

// By rules or for grants in advance.
std::size_t namespaces_named(const Options& options) {
  std::set<std::uint16_t> ids;
  const auto rules = parse_namespace_rules(options.namespaces.rules);
  if (rules.ok()) {
    for (const NamespaceOptions& rule : rules.value()) ids.insert(rule.id);
  }
  std::vector<AdvanceNamespace> advances;
  if (parse_advance_namespaces(options.predict.advance_namespaces, advances)) {
    for (const AdvanceNamespace& each : advances) ids.insert(each.id);
  }
  return ids.size();
}

}  // namespace

Options default_options() {
  Options options;
  for (const OptionRow& row : option_rows()) {
    std::visit([&](const auto& kind) { kind.field(options) = kind.fallback; }, row.kind);
  }
  return options;
}

Status set_option(Options& options, const OptionRow& row, const OptionValue& value) {
  const bool taken =
      std::visit(Overload{
                     [&](const WholeNumber& kind) {
                       const auto* number = std::get_if<std::int64_t>(&value);
                       if (!number || *number < kind.minimum || *number > kind.maximum)
                         return false;
                       kind.field(options) = *number;
                       return true;
                     },
                     [&](const Flag& kind) {
                       const auto* flag = std::get_if<bool>(&value);
                       if (!flag) return false;
                       kind.field(options) = *flag;
                       return true;
                     },
                     [&](const Choice& kind) {
                       const auto* text = std::get_if<std::string>(&value);
                       if (!text || std::find(kind.allowed.begin(), kind.allowed.end(), *text) ==
                                        kind.allowed.end()) {
                         return false;
                       }
                       kind.field(options) = *text;
                       return true;
                     },
                     [&](const Text& kind) {
                       const auto* text = std::get_if<std::string>(&value);
                       if (!text || !kind.accepts(*text)) return false;
                       kind.field(options) = *text;
                       return true;
                     },
                 },
                 row.kind);
  return taken ? done() : refuse(row, value);
}

Status set_option(Options& options, std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    return Error{"--set " + std::string(assignment) + ": must be section.key=value"};
  }
  const std::string_view name = assignment.substr(0, equals);
  const OptionRow* row = find_option(name);
  if (row == nullptr) {
    return Error{"--set " + std::string(name) + ": no such option; `driftlockd --help` lists them"};
  }
  return set_option(options, *row, value_of(*row, assignment.substr(equals + 1)));
}

std::vector<std::string> check_together(const Options& options) {
  std::vector<std::string> wrong;
  const auto need = [&](bool fits, const char* message) {
    if (!fits) wrong.emplace_back(message);
  };
  need(options.lease.term_min_ms <= options.lease.term_default_ms &&
           options.lease.term_default_ms <= options.lease.term_max_ms,
       "lease: term_min_ms <= term_default_ms <= term_max_ms must hold");
  if (options.port.kind == "dpdk") {
    need(!options.port.device.empty(),
         "port.device: port.kind = \"dpdk\" needs one, such as \"net_af_xdp0,iface=eth1\"");
    need(options.port.udp_port != 0,
         "port.udp_port: 0 is only possible with port.kind = \"socket\"");
    need(options.port.address != "0.0.0.0",
         "port.address: port.kind = \"dpdk\" needs the address that the device shall answer to");
  }
  need(options.predict.advance_namespaces.empty() ||
           (options.predict.contention && options.predict.mode != "off"),
       "predict.advance_namespaces: needs predict.contention = true and a predict.mode that is not "
       "\"off\"");
  need(options.predict.term_min_ms <= options.predict.term_max_ms,
       "predict: term_min_ms <= term_max_ms must hold");
  if (const auto rules = parse_namespace_rules(options.namespaces.rules); !rules.ok()) {
    wrong.push_back("namespaces.rules: " + rules.error().message);
  }
  need(namespaces_named(options) <= NamespaceTable::kConfiguredMax,
       "namespaces.rules, predict.advance_namespaces: they may name 254 namespaces at most");
  need(options.probe.interface.empty() || options.port.udp_port != 0,
       "probe.interface: the probe needs a fixed port.udp_port");
  return wrong;
}

bool parse_advance_namespaces(const std::string& text, std::vector<AdvanceNamespace>& out) {
  constexpr double kHitMin = 0.905;
  out.clear();
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    const auto equals = part.find('=');
    std::int64_t id = 0;
    if (!parse_number(std::string_view(part).substr(0, equals), id) || id < 0 || id > 65535) {
      return false;
    }
    AdvanceNamespace entry{static_cast<std::uint16_t>(id), kHitMin};
    if (equals != std::string::npos) {
      char* end = nullptr;
      const std::string number = part.substr(equals + 1);
      entry.hit_min = std::strtod(number.c_str(), &end);
      if (number.empty() || *end != '\0' || !(entry.hit_min >= 0.5 && entry.hit_min <= 1.0)) {
        return false;
      }
    }
    const bool twice = std::any_of(out.begin(), out.end(), [&](const AdvanceNamespace& other) {
      return other.id == entry.id;
    });
    if (twice || out.size() == 200) return false;
    out.push_back(entry);
  }
  return true;
}

bool parse_ipv4(const std::string& text, std::uint32_t& out) {
  in_addr address{};
  if (inet_pton(AF_INET, text.c_str(), &address) != 1) return false;
  out = ntohl(address.s_addr);
  return true;
}

std::string format_ipv4(std::uint32_t address) {
  const in_addr network{htonl(address)};
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &network, text, sizeof(text));
  return text;
}

bool parse_host_port(const std::string& text, HostPort& out) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  std::int64_t port = 0;
  std::uint32_t ignored = 0;
  out.host = text.substr(0, colon);
  if (!parse_ipv4(out.host, ignored)) return false;
  if (!parse_number(std::string_view(text).substr(colon + 1), port)) return false;
  if (port < 0 || port > 65535) return false;
  out.port = static_cast<std::uint16_t>(port);
  return true;
}

}  // namespace driftlock
