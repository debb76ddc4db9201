// Interrupts kept away from the lcore's processor.
#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {
namespace {

constexpr const char* kName = "irq_affinity";

bool may_interrupt(const std::string& irq, int cpu) {
  return parse_list(read_line("/proc/irq/" + irq + "/smp_affinity_list").value_or("")).count(cpu) !=
         0;
}

// " 25:  1  0  PCI-MSI eth0" is 25; lines of the processors' own, as " LOC:", are nothing.
std::string number_of(const std::string& line) {
  const std::size_t begin = line.find_first_not_of(' ');
  const std::size_t colon = line.find(':');
  if (begin == std::string::npos || colon == std::string::npos || begin >= colon) return "";
  const std::string number = line.substr(begin, colon - begin);
  return number.find_first_not_of("0123456789") == std::string::npos ? number : "";
}

// The processors but this one, as the kernel writes them.
std::string others(int cpu) {
  std::string list;
  for (const int one : parse_list(read_line("/sys/devices/system/cpu/online").value_or(""))) {
    if (one != cpu) list += (list.empty() ? "" : ",") + std::to_string(one);
  }
  return list;
}

}  // namespace

Findings check_irq(const Site& site) {
  const auto cpu = static_cast<int>(site.options.port.cpu);
  if (!site.polls() || cpu < 0) return {};
  Findings findings;
  if (running_programs().count("irqbalance") != 0) {
    findings.push_back(
        {kName,
         Level::kWarning,
         "irqbalance runs",
         "it moves interrupts to the lcore's processor whenever that looks idle to it",
         {"systemctl disable --now irqbalance"},
         true});
  }
  Finding busy{kName, Level::kWarning, "", "each interrupt takes microseconds from the lcore", {},
               true};
  int count = 0;
  for (const std::string& line : read_lines("/proc/interrupts")) {
    const std::string irq = number_of(line);
    if (irq.empty() || !may_interrupt(irq, cpu) || others(cpu).empty()) continue;
    ++count;
    busy.mend.push_back("echo " + others(cpu) + " > /proc/irq/" + irq +
                        "/smp_affinity_list || true");
  }
  busy.what = std::to_string(count) + " interrupts may arrive at processor " + std::to_string(cpu) +
              " (port.cpu)";
  if (count > 0) findings.push_back(busy);
  if (findings.empty()) {
    findings.push_back({kName, Level::kGood, "none at processor " + std::to_string(cpu), "", {}});
  }
  return findings;
}

}  // namespace driftlock::doctor
