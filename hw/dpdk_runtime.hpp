// DpdkRuntime: DPDK's environment layer, started once in a process and ended with it. Owned by the
// main thread; it must outlive every DpdkPort. Nothing of it is shared with other processes: no
// files, no telemetry socket.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/base/result.hpp"

namespace driftlock {

struct DpdkOptions {
  unsigned cpu = 0;                  // EAL's own lcore; the threads that poll register themselves
  unsigned memory_mib = 64;          // for packet buffers
  bool huge_pages = true;            // used if that much is free, else ordinary pages, and a remark
  std::vector<std::string> vdevs{};  // "net_af_xdp0,iface=eth1"
  std::vector<std::string> pci_allow{};  // "0000:01:00.0"; empty: the PCI bus is not scanned
  std::string log_level = "warning";     // DPDK's own, to stderr
};

class DpdkRuntime {
 public:
  [[nodiscard]] static Result<std::unique_ptr<DpdkRuntime>> start(const DpdkOptions& options);
  ~DpdkRuntime();
  DpdkRuntime(const DpdkRuntime&) = delete;
  DpdkRuntime& operator=(const DpdkRuntime&) = delete;

  // By the thread that polls a port, before it does: gives it an lcore and so a cache of packet
  // buffers. unregister_thread() before it ends.
  [[nodiscard]] static Status register_thread();
  static void unregister_thread();

  // What a person should know about how it started ("no huge pages: ...").
  [[nodiscard]] const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  DpdkRuntime() = default;
  bool initialised_ = false;
  std::vector<std::string> remarks_;
};

}  // namespace driftlock
