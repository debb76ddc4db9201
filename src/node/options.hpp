// Options: everything an operator can say to driftlockd, and the one table that describes it. The
// reader, --help and docs/configuration.md all come from the table, so that they cannot disagree.
// Filled in by the main thread at start; read-only from then on.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/base/result.hpp"

namespace driftlock {

struct Options {
  struct Node {
    std::string name;
    std::string state_directory;
  } node;
  struct Port {
    std::string kind;
    std::string address;
    std::int64_t udp_port = 0;
    std::string device;
    std::int64_t vlan = 0;
    std::int64_t cpu = 0;
    std::int64_t idle_sleep_us = 0;
    std::int64_t buffers = 0;
    std::int64_t ring_size = 0;
    bool huge_pages = false;
    std::int64_t memory_mib = 0;
    std::string stamps;
    std::string stamps_phc;
    std::int64_t stamp_bits = 0;
  } port;
  struct Limits {
    std::int64_t sessions_max = 0;
    std::int64_t slots_per_session = 0;
    std::int64_t locks_max = 0;
    std::int64_t claims_max = 0;
    std::int64_t long_keys_max = 0;
    std::int64_t groups_max = 0;
    std::int64_t sessions_per_client_max = 0;
  } limits;
  struct Lease {
    std::int64_t term_default_ms = 0;
    std::int64_t term_min_ms = 0;
    std::int64_t term_max_ms = 0;
  } lease;
  struct Namespaces {
    std::string rules;
  } namespaces;
  struct Clock {
    std::string source;
    std::string phc_device;
    std::int64_t phc_max_error_ns = 0;
    std::int64_t phc_to_tai_ns = 0;
    std::int64_t phc_readings = 0;
    std::int64_t chrony_port = 0;
    std::int64_t interval_ms = 0;
    std::int64_t worst_case_drift_ppb = 0;
    std::int64_t tolerance_ppb = 0;
    std::int64_t asymmetry_ns = 0;
    std::int64_t holdover_after_ms = 0;
    std::int64_t lost_half_width_ns = 0;
    bool trust_unsynchronized = false;
    std::int64_t assumed_error_ns = 0;
    std::int64_t tai_offset_s = 0;
    std::string ptp4l_socket;
    bool ptp4l_free_running = false;
    std::string segment;
  } clock;
  struct Gossip {
    std::string address;
    std::int64_t node_id = 0;
    std::string key_file;
    std::string peers;
    std::int64_t interval_ms = 0;
    std::int64_t fanout = 0;
    std::int64_t exchanges = 0;
    std::int64_t client_error_us = 0;
  } gossip;
  struct Auth {
    std::string keys_file;
  } auth;
  struct Probe {
    std::string interface;
    std::string hook;
    std::int64_t sample_every = 0;
    std::int64_t clients_max = 0;
  } probe;
  struct Predict {
    std::string mode;
    std::int64_t interval_ms = 0;
    bool contention = false;
    std::string advance_namespaces;
    std::int64_t look_ms = 0;
    std::int64_t alarm_one_in = 0;
    std::int64_t silence_one_in = 0;
    std::int64_t silence_floor_ms = 0;
    std::int64_t patience_ms = 0;
    std::int64_t term_min_ms = 0;
    std::int64_t term_max_ms = 0;
    std::int64_t asks_per_minute_client = 0;
    std::int64_t asks_per_second = 0;
    std::int64_t self_suspect_percent = 0;
  } predict;
  struct Metrics {
    std::string address;
  } metrics;
  struct Admin {
    std::string socket;
    std::string group;
  } admin;
  struct Log {
    std::string level;
    std::string format;
  } log;
};

// What a row of the table allows. `field` finds its place in an Options.
struct WholeNumber {
  std::int64_t& (*field)(Options&);
  std::int64_t fallback;
  std::int64_t minimum;
  std::int64_t maximum;
};
struct Flag {
  bool& (*field)(Options&);
  bool fallback;
};
struct Choice {
  std::string& (*field)(Options&);
  const char* fallback;
  std::vector<const char*> allowed;
};
struct Text {
  std::string& (*field)(Options&);
  const char* fallback;
  const char* allowed;  // for people: "an IPv4 address"
  bool (*accepts)(const std::string&);
};

struct OptionRow {
  std::string_view name;  // "section.key"
  std::variant<WholeNumber, Flag, Choice, Text> kind;
  const char* help;

  [[nodiscard]] std::string_view section() const { return name.substr(0, name.find('.')); }
  [[nodiscard]] std::string_view key() const { return name.substr(name.find('.') + 1); }
};

struct OptionSection {
  std::string_view name;
  const char* help;
};

// option_table.cpp
[[nodiscard]] std::span<const OptionSection> option_sections();
[[nodiscard]] std::span<const OptionRow> option_rows();
[[nodiscard]] const OptionRow* find_option(std::string_view name);

// A value as a file or a command line gives it.
using OptionValue = std::variant<std::int64_t, bool, std::string>;

[[nodiscard]] Options default_options();
// An Error says what was given and what is allowed.
[[nodiscard]] Status set_option(Options& options, const OptionRow& row, const OptionValue& value);
// "section.key=value", as --set has it.
[[nodiscard]] Status set_option(Options& options, std::string_view assignment);
// What no single row can tell: options that must fit one another. Empty where they do.
[[nodiscard]] std::vector<std::string> check_together(const Options& options);

// Reads a TOML file over `options`. Every mistake in it is found and named, not just the first.
// option_reader.cpp
[[nodiscard]] std::vector<std::string> read_options_file(Options& options, const std::string& path);

// option_text.cpp
[[nodiscard]] std::string value_text(const Options& options, const OptionRow& row);  // as TOML
[[nodiscard]] std::string allowed_text(const OptionRow& row);
[[nodiscard]] std::string options_toml(const Options& options);
[[nodiscard]] std::string options_help();
[[nodiscard]] std::string options_markdown();

// A namespace whose locks may be granted in advance, and the least chance of a hit.
struct AdvanceNamespace {
  std::uint16_t id = 0;
  double hit_min = 0.0;
};
// "0, 7=0.95" taken apart; false where it is something else.
[[nodiscard]] bool parse_advance_namespaces(const std::string& text,
                                            std::vector<AdvanceNamespace>& out);
// "127.0.0.1:9478" taken apart; false where it is something else.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
[[nodiscard]] bool parse_host_port(const std::string& text, HostPort& out);
// Host byte order.
[[nodiscard]] bool parse_ipv4(const std::string& text, std::uint32_t& out);
[[nodiscard]] std::string format_ipv4(std::uint32_t address);

}  // namespace driftlock
