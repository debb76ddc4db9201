// The cluster's coordinator, by a look at its health.
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>

#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {
namespace {

// The answer to GET /health, or nothing.
std::string ask_health(const std::string& host, const std::string& port) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &wanted, &found) != 0) return "";
  const int descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{2, 0};
  setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  std::string answer;
  if (connect(descriptor, found->ai_addr, found->ai_addrlen) == 0) {
    const std::string question = "GET /health HTTP/1.0\r\nHost: " + host + "\r\n\r\n";
    std::array<char, 2048> bytes{};
    if (write(descriptor, question.data(), question.size()) > 0) {
      for (ssize_t got = 0; (got = read(descriptor, bytes.data(), bytes.size())) > 0;) {
        answer.append(bytes.data(), static_cast<std::size_t>(got));
      }
    }
  }
  close(descriptor);
  freeaddrinfo(found);
  return answer;
}

}  // namespace

Findings check_etcd(const Site& site) {
  constexpr const char* kName = "etcd";
  if (site.etcd.empty()) {
    return {{kName,
             Level::kNote,
             "no etcd is named: --etcd HOST:PORT has it looked at",
             "one node alone needs none",
             {}}};
  }
  const std::size_t colon = site.etcd.rfind(':');
  const std::string host = site.etcd.substr(0, colon);
  const std::string port = colon == std::string::npos ? "2379" : site.etcd.substr(colon + 1);
  const std::string answer = ask_health(host, port);
  const std::string command = "etcdctl --endpoints=" + quoted(site.etcd) + " endpoint status";
  if (answer.empty()) {
    return {{kName,
             Level::kError,
             site.etcd + " does not answer",
             "no node can take over the slots of one that has failed",
             {command}}};
  }
  if (answer.find("\"health\":\"true\"") == std::string::npos) {
    return {{kName,
             Level::kError,
             site.etcd + " is not healthy",
             "it may have lost its majority: ownership cannot change hands",
             {command}}};
  }
  return {{kName, Level::kGood, site.etcd + " is healthy", "", {}}};
}

}  // namespace driftlock::doctor
