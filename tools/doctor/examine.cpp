#include "tools/doctor/finding.hpp"

namespace driftlock::doctor {

const char* to_string(Level level) {
  switch (level) {
    case Level::kGood:
      return "good";
    case Level::kNote:
      return "note";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "unknown";
}

Findings examine(const Site& site, const std::string& only) {
  Findings all;
  for (const auto check :
       {check_configuration, check_nic, check_timestamping, check_phc, check_time_sync, check_clock,
        check_huge_pages, check_cpu, check_irq, check_bpf, check_ports, check_keys, check_etcd}) {
    for (Finding& finding : check(site)) {
      if (only.empty() || only == finding.check) all.push_back(std::move(finding));
    }
  }
  return all;
}

}  // namespace driftlock::doctor
