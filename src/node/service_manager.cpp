#include "src/node/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include "src/node/log.hpp"

namespace driftlock {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// "@name" is in the abstract namespace.
int connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return -1;
  std::copy(path.begin(), path.end(), address.sun_path);
  if (path[0] == '@') address.sun_path[0] = 0;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), size) == 0) {
    return descriptor;
  }
  close(descriptor);
  return -1;
}

}  // namespace

ServiceManager::ServiceManager() {
  const std::string path = variable("NOTIFY_SOCKET");
  if (path.empty()) return;
  socket_ = connect_to(path);
  if (socket_ < 0) {
    log_line(LogLevel::kWarning, "the service manager cannot be told of anything",
             {{"NOTIFY_SOCKET", path}});
    return;
  }
  const std::string whose = variable("WATCHDOG_PID");
  if (!whose.empty() && std::atoll(whose.c_str()) != getpid()) return;
  watchdog_ns_ = std::atoll(variable("WATCHDOG_USEC").c_str()) * kMicrosecond;
}

ServiceManager::~ServiceManager() {
  if (socket_ >= 0) close(socket_);
}

void ServiceManager::tell(const std::string& message) const {
  if (socket_ < 0) return;
  // One that does not listen now is not waited for.
  static_cast<void>(!send(socket_, message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

}  // namespace driftlock
