// The UDP port, the metrics' port and the admin socket: the node's own, or free.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {
namespace {

constexpr const char* kName = "ports";

// 0, or why it cannot be bound.
int try_to_bind(int type, const std::string& address, std::uint16_t port) {
  std::uint32_t ipv4 = 0;
  if (!parse_ipv4(address, ipv4)) return 0;
  const int descriptor = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_addr.s_addr = htonl(ipv4);
  local.sin_port = htons(port);
  const int one = 1;
  // Connections that have just ended do not count.
  if (type == SOCK_STREAM) setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  const int failed =
      bind(descriptor, reinterpret_cast<sockaddr*>(&local), sizeof(local)) == 0 ? 0 : errno;
  close(descriptor);
  return failed;
}

bool answers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected =
      connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(descriptor);
  return connected;
}

void check_one(const char* key, int type, const std::string& address, std::int64_t port,
               Findings& findings) {
  if (port == 0) return;
  const std::string place = address + ":" + std::to_string(port);
  const int failed = try_to_bind(type, address, static_cast<std::uint16_t>(port));
  if (failed == EADDRINUSE) {
    findings.push_back({kName,
                        Level::kError,
                        place + " (" + key + ") is taken by another program",
                        "driftlockd does not start",
                        {std::string("ss -H -l -n -p -") + (type == SOCK_DGRAM ? "u" : "t") +
                         " 'sport = :" + std::to_string(port) + "'"}});
  } else if (failed == EADDRNOTAVAIL) {
    findings.push_back({kName,
                        Level::kError,
                        "no interface has the address " + address + " (" + key + ")",
                        "driftlockd does not start",
                        {"ip -brief address"}});
  }
}

}  // namespace

Findings check_ports(const Site& site) {
  const Options& options = site.options;
  if (answers(options.admin.socket)) {
    return {{kName, Level::kGood, "a node answers at " + options.admin.socket, "", {}}};
  }
  Findings findings;
  if (!site.polls()) {
    check_one("port.udp_port", SOCK_DGRAM, options.port.address, options.port.udp_port, findings);
  }
  if (HostPort metrics; parse_host_port(options.metrics.address, metrics)) {
    check_one("metrics.address", SOCK_STREAM, metrics.host, metrics.port, findings);
  }
  if (findings.empty()) {
    findings.push_back({kName, Level::kGood, "free; no node runs", "", {}});
  }
  return findings;
}

}  // namespace driftlock::doctor
