// What every subcommand of `driftlock` is told, by options, environment or
// /etc/driftlock/client.toml, in this order of precedence; and its exit codes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.hpp"
#include "src/base/time.hpp"
#include "src/lock/wire.hpp"

namespace driftlock::cli {

// Exit codes; docs: tools/driftlock/driftlock.1.
inline constexpr int kExitOk = 0;
inline constexpr int kExitRefused = 1;      // busy, the wait timed out, not held
inline constexpr int kExitUsage = 2;        // options, configuration, keys
inline constexpr int kExitUnreachable = 3;  // no answer from the node, or it refuses a session
inline constexpr int kExitLost = 4;         // the lease was lost while the lock was held
// `run` leaves the low numbers to its command, as timeout(1) and env(1) do.
inline constexpr int kExitRunLost = 123;
inline constexpr int kExitRunRefused = 124;
inline constexpr int kExitRunFailed = 125;
inline constexpr int kExitRunNotExecutable = 126;
inline constexpr int kExitRunNotFound = 127;
inline constexpr int kExitSignal = 128;

struct Settings {
  std::string server = "127.0.0.1:4780";
  std::string key_file = "/etc/driftlock/client.key";
  std::optional<std::uint64_t> client_id;
  std::uint16_t namespace_id = 0;
  Nanoseconds timeout_ns = 5 * kSecond;
  std::string admin = "/run/driftlock/admin.sock";
  bool json = false;

  std::string key;
  Nanoseconds wait_ns = kNever;
  Nanoseconds term_ns = 0;
  std::string mode;  // predict: to set; empty: to ask
  bool shared = false;
  std::uint16_t permits_max = 0;  // a semaphore of that size
  std::uint16_t permits = 1;
  bool detach = false;
  Nanoseconds grace_ns = kSecond;
  std::vector<std::string> command;
  std::uint32_t limit = 100;
  std::uint32_t count = 5;
  bool clocks = false;  // cluster
  bool waiting = false;
  bool by_protocol = false;
  bool watch = false;
  Nanoseconds interval_ns = kSecond;  // between two looks, or two reports
  std::string name = "client";        // keygen

  // probe
  std::string interface;
  std::string hook = "tc";
  std::string ports = "4780";
  std::uint32_t rounds = 0;  // 0: without end
  bool watch_only = false;
};

// Settings that the file states replace the defaults. A file that is not there states nothing,
// unless it was named by the user (`required`).
[[nodiscard]] Status load_settings(const std::string& path, bool required, Settings& settings);

// "2.5", "500ms", "10s", "5m", "1h"; "forever".
[[nodiscard]] Result<Nanoseconds> parse_duration(const std::string& text);

}  // namespace driftlock::cli
