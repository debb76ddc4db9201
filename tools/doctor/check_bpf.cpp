// What the probe and AF_XDP need of the kernel.
#include <sys/utsname.h>

#include <cstdio>

#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {

Findings check_bpf(const Site& site) {
  constexpr const char* kName = "bpf";
  Findings findings;
  const bool wanted =
      !site.options.probe.interface.empty() || site.options.port.device.rfind("net_af_xdp", 0) == 0;
  const Level level = wanted ? Level::kError : Level::kNote;
  utsname kernel{};
  int major = 0;
  int minor = 0;
  if (uname(&kernel) == 0) std::sscanf(kernel.release, "%d.%d", &major, &minor);
  if (major * 1000 + minor < 5012) {
    findings.push_back({kName,
                        level,
                        std::string("kernel ") + kernel.release + " is older than 5.12",
                        "the probe's atomic operations are not known to it",
                        {"apt-get full-upgrade"}});
  }
  if (!exists("/sys/kernel/btf/vmlinux")) {
    findings.push_back(
        {kName,
         level,
         "the kernel has no BTF (/sys/kernel/btf/vmlinux)",
         "the probe cannot be fitted to this kernel and does not load",
         {"apt-get install -y linux-image-$(dpkg --print-architecture)   # then reboot"}});
  }
  if (read_number("/proc/sys/net/core/bpf_jit_enable").value_or(1) == 0) {
    findings.push_back(
        {kName,
         Level::kWarning,
         "BPF is interpreted",
         "a packet costs the probe ten times as much",
         {"printf 'net.core.bpf_jit_enable = 1\\n' > /etc/sysctl.d/61-driftlock.conf",
          "sysctl -q -w net.core.bpf_jit_enable=1"},
         true});
  }
  if (read_number("/proc/sys/kernel/bpf_stats_enabled").value_or(0) != 0) {
    findings.push_back({kName,
                        Level::kNote,
                        "kernel.bpf_stats_enabled is 1",
                        "every packet costs some 25 ns more for being counted",
                        {"sysctl -q -w kernel.bpf_stats_enabled=0"}});
  }
  if (findings.empty()) {
    findings.push_back({kName, Level::kGood, "BTF and JIT are there", "", {}});
  }
  return findings;
}

}  // namespace driftlock::doctor
