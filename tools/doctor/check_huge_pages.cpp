// Huge pages for packet buffers and tables.
#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {

Findings check_huge_pages(const Site& site) {
  constexpr const char* kName = "huge_pages";
  if (!site.polls() || !site.options.port.huge_pages) {
    return {{kName, Level::kNote, "not wanted by this configuration", "", {}}};
  }
  std::int64_t free_mib = 0;
  for (const std::string& size : names_in("/sys/kernel/mm/hugepages")) {
    const std::size_t dash = size.find('-');
    if (dash == std::string::npos) continue;
    free_mib += read_number("/sys/kernel/mm/hugepages/" + size + "/free_hugepages").value_or(0) *
                std::atoll(size.c_str() + dash + 1) / 1024;
  }
  const std::int64_t wanted_mib = site.options.port.memory_mib;
  if (free_mib >= wanted_mib) {
    return {{kName, Level::kGood, std::to_string(free_mib) + " MiB free", "", {}}};
  }
  const std::string pages = std::to_string((wanted_mib + 1) / 2);
  return {{kName,
           Level::kWarning,
           std::to_string(free_mib) + " MiB free, " + std::to_string(wanted_mib) +
               " MiB wanted (port.memory_mib)",
           "the port runs on ordinary pages, and misses the processor's page tables at every burst",
           {"printf 'vm.nr_hugepages = " + pages + "\\n' > /etc/sysctl.d/60-driftlock.conf",
            "sysctl -q -w vm.nr_hugepages=" + pages},
           true}};
}

}  // namespace driftlock::doctor
