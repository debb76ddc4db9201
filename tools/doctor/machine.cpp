#include "tools/doctor/machine.hpp"

#include <linux/ethtool.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace driftlock::doctor {
namespace {

// One question about an interface; false where it has no answer.
bool ask(unsigned long request, const std::string& interface, ifreq& question) {
  if (interface.empty() || interface.size() >= sizeof(question.ifr_name)) return false;
  std::copy(interface.begin(), interface.end(), question.ifr_name);
  question.ifr_name[interface.size()] = 0;
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return false;
  const bool answered = ioctl(descriptor, request, &question) == 0;
  close(descriptor);
  return answered;
}

template <typename Answer>
bool ask_ethtool(const std::string& interface, Answer& answer) {
  ifreq question{};
  question.ifr_data = reinterpret_cast<char*>(&answer);
  return ask(SIOCETHTOOL, interface, question);
}

}  // namespace

std::optional<std::string> read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line)) return std::nullopt;
  return line;
}

std::optional<std::int64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  std::int64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::set<int> parse_list(const std::string& text) {
  std::set<int> members;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    int first = 0;
    int last = 0;
    const int found = std::sscanf(part.c_str(), "%d-%d", &first, &last);
    if (found < 1) continue;
    if (found == 1) last = first;
    for (int i = first; i <= last; ++i) members.insert(i);
  }
  return members;
}

std::set<std::string> running_programs() {
  std::set<std::string> programs;
  for (const std::string& name : names_in("/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (const auto program = read_line("/proc/" + name + "/comm")) programs.insert(*program);
  }
  return programs;
}

bool is_root() {
  return geteuid() == 0;
}

std::string quoted(const std::string& text) {
  if (text.find_first_not_of(
          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:") ==
      std::string::npos) {
    return text;
  }
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::optional<TimestampAbilities> timestamping_of(const std::string& interface) {
  ethtool_ts_info info{};
  info.cmd = ETHTOOL_GET_TS_INFO;
  if (!ask_ethtool(interface, info)) return std::nullopt;
  const auto can = [&info](unsigned ability) { return (info.so_timestamping & ability) != 0; };
  TimestampAbilities abilities;
  const bool raw = can(SOF_TIMESTAMPING_RAW_HARDWARE);
  abilities.hardware_receive = raw && can(SOF_TIMESTAMPING_RX_HARDWARE);
  abilities.hardware_transmit = raw && can(SOF_TIMESTAMPING_TX_HARDWARE);
  abilities.all_packets = (info.rx_filters & (1U << HWTSTAMP_FILTER_ALL)) != 0;
  abilities.software = can(SOF_TIMESTAMPING_RX_SOFTWARE);
  abilities.phc = info.phc_index;
  return abilities;
}

std::optional<std::string> driver_of(const std::string& interface) {
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  if (!ask_ethtool(interface, info)) return std::nullopt;
  return std::string(info.driver, strnlen(info.driver, sizeof(info.driver)));
}

std::optional<unsigned> flags_of(const std::string& interface) {
  ifreq question{};
  if (!ask(SIOCGIFFLAGS, interface, question)) return std::nullopt;
  return static_cast<unsigned short>(question.ifr_flags);
}

std::optional<int> mtu_of(const std::string& interface) {
  ifreq question{};
  if (!ask(SIOCGIFMTU, interface, question)) return std::nullopt;
  return question.ifr_mtu;
}

}  // namespace driftlock::doctor
