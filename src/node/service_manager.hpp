// ServiceManager: tells systemd, if it has started us, that we are ready, alive or ending, by the
// datagrams of sd_notify(3). Owned by the main thread. Without systemd it does nothing.
#pragma once

#include <string>

#include "src/base/time.hpp"

namespace driftlock {

class ServiceManager {
 public:
  ServiceManager();  // reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // "READY=1", "WATCHDOG=1", "STOPPING=1", "STATUS=..."; several by line.
  void tell(const std::string& message) const;
  // How often a sign of life is due; 0: never.
  [[nodiscard]] Nanoseconds watchdog_ns() const { return watchdog_ns_; }

 private:
  int socket_ = -1;
  Nanoseconds watchdog_ns_ = 0;
};

}  // namespace driftlock
