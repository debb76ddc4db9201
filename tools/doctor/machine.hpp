// Small looks at this machine that several checks share. Nothing is changed; what cannot be read is
// empty.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace driftlock::doctor {

[[nodiscard]] std::optional<std::string> read_line(const std::string& path);
[[nodiscard]] std::optional<std::int64_t> read_number(const std::string& path);
[[nodiscard]] std::vector<std::string> read_lines(const std::string& path);
[[nodiscard]] bool exists(const std::string& path);
[[nodiscard]] std::vector<std::string> names_in(const std::string& folder);
// "0-3,8" as the kernel writes lists of processors.
[[nodiscard]] std::set<int> parse_list(const std::string& text);
// Names of the programs that run, as /proc tells them ("ptp4l").
[[nodiscard]] std::set<std::string> running_programs();
[[nodiscard]] bool is_root();
[[nodiscard]] std::string quoted(const std::string& text);  // for a shell

// Of an interface, by SIOCETHTOOL; works in every network namespace.
struct TimestampAbilities {
  bool hardware_receive = false;
  bool hardware_transmit = false;
  bool all_packets = false;  // or only those of PTP
  bool software = false;
  int phc = -1;
};
[[nodiscard]] std::optional<TimestampAbilities> timestamping_of(const std::string& interface);
[[nodiscard]] std::optional<std::string> driver_of(const std::string& interface);
// IFF_* flags; absent where there is no such interface.
[[nodiscard]] std::optional<unsigned> flags_of(const std::string& interface);
[[nodiscard]] std::optional<int> mtu_of(const std::string& interface);

}  // namespace driftlock::doctor
