// The counter that times are extrapolated with, between two looks at the clock.
#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {

Findings check_clock(const Site& site) {
  constexpr const char* kName = "clock";
  Findings findings;
  bool constant = false;
  bool nonstop = false;
  for (const std::string& line : read_lines("/proc/cpuinfo")) {
    if (line.rfind("flags", 0) != 0) continue;
    constant = line.find(" constant_tsc") != std::string::npos;
    nonstop = line.find(" nonstop_tsc") != std::string::npos;
    break;
  }
  if (!constant || !nonstop) {
    findings.push_back({kName,
                        Level::kWarning,
                        "this processor's counter may change its rate",
                        "clock.tolerance_ppb (" + std::to_string(site.options.clock.tolerance_ppb) +
                            ") must cover that, or bounds are too narrow",
                        {"grep -o -m1 -E 'constant_tsc|nonstop_tsc' /proc/cpuinfo"}});
  }
  const std::string folder = "/sys/devices/system/clocksource/clocksource0/";
  const std::string source = read_line(folder + "current_clocksource").value_or("unknown");
  const std::string offered = read_line(folder + "available_clocksource").value_or("");
  if (source != "tsc" && (" " + offered + " ").find(" tsc ") != std::string::npos) {
    findings.push_back({kName,
                        Level::kWarning,
                        "the kernel's clock source is " + source + ", not tsc",
                        "every read of the clock is then slower, and some are system calls",
                        {"echo tsc > " + folder + "current_clocksource"},
                        true});
  }
  if (findings.empty()) {
    findings.push_back(
        {kName, Level::kGood, "counter of constant rate; clock source " + source, "", {}});
  }
  return findings;
}

}  // namespace driftlock::doctor
