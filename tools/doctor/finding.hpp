// A finding of `driftlock doctor`: what is, why it matters, and the commands that mend it. Plain
// values; each check (check_*.cpp) looks at one thing of this machine and changes nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/node/options.hpp"

namespace driftlock::doctor {

enum class Level : std::uint8_t {
  kGood,
  kNote,     // to know; nothing has to be done
  kWarning,  // works, but worse than it could
  kError,    // does not work, or is not safe
};
const char* to_string(Level level);

struct Finding {
  std::string check;  // "huge_pages"
  Level level = Level::kGood;
  std::string what;
  std::string why;
  // For a shell, as root, in this order. `driftlock setup --apply` runs those of findings that say
  // `setup`; the others need a person (a reboot, a choice, another machine).
  std::vector<std::string> mend{};
  bool setup = false;
};
using Findings = std::vector<Finding>;

// What is looked at, and for what node it is meant.
struct Site {
  Options options;        // of the node: its file, else the defaults
  std::string config;     // that file, if it is there
  std::string interface;  // of the datagrams; empty: none is known
  std::string etcd;       // HOST:PORT; empty: no cluster
  std::string user = "";  // that the service runs as; empty: not installed
  [[nodiscard]] bool polls() const { return options.port.kind == "dpdk"; }
};

Findings check_configuration(const Site& site);
Findings check_nic(const Site& site);
Findings check_timestamping(const Site& site);
Findings check_phc(const Site& site);
Findings check_time_sync(const Site& site);
Findings check_clock(const Site& site);
Findings check_huge_pages(const Site& site);
Findings check_cpu(const Site& site);
Findings check_irq(const Site& site);
Findings check_bpf(const Site& site);
Findings check_ports(const Site& site);
Findings check_keys(const Site& site);
Findings check_etcd(const Site& site);

// All of them, in this order; or only those of one check.
[[nodiscard]] Findings examine(const Site& site, const std::string& only);

// The service's user is named so by the package.
inline constexpr const char* kServiceUser = "driftlock";

}  // namespace driftlock::doctor
