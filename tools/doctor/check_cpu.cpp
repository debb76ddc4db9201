// A processor for the lcore alone, at full speed.
#include <unistd.h>

#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {
namespace {

constexpr const char* kName = "cpu";

Finding check_isolation(int cpu) {
  const std::string number = std::to_string(cpu);
  const std::set<int> isolated =
      parse_list(read_line("/sys/devices/system/cpu/isolated").value_or(""));
  const std::set<int> tickless =
      parse_list(read_line("/sys/devices/system/cpu/nohz_full").value_or(""));
  if (isolated.count(cpu) != 0 && tickless.count(cpu) != 0) {
    return {kName, Level::kGood, "processor " + number + " is isolated and tickless", "", {}};
  }
  return {kName,
          Level::kWarning,
          "processor " + number + " (port.cpu) is " +
              (isolated.count(cpu) == 0 ? "shared with other programs" : "not tickless"),
          "whatever else runs there delays every lock that is asked for meanwhile",
          {"sed -i 's/^GRUB_CMDLINE_LINUX=\"/&isolcpus=managed_irq,domain," + number +
               " nohz_full=" + number + " rcu_nocbs=" + number + " /' /etc/default/grub",
           "update-grub   # then reboot"}};
}

}  // namespace

Findings check_cpu(const Site& site) {
  if (!site.polls())
    return {{kName, Level::kNote, "a socket's thread needs none of its own", "", {}}};
  const auto cpu = static_cast<int>(site.options.port.cpu);
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  if (cpu < 0) {
    return {
        {kName,
         Level::kWarning,
         "port.cpu is not set",
         "the thread that polls moves from processor to processor, and loses its caches each time",
         {"printf '[port]\\ncpu = " + std::to_string(processors - 1) + "\\n'   # in " +
          (site.config.empty() ? std::string("driftlockd.toml") : site.config)}}};
  }
  if (cpu >= processors) {
    return {{kName,
             Level::kError,
             "port.cpu is " + std::to_string(cpu) + ", and there are " +
                 std::to_string(processors) + " processors",
             "the thread that polls runs unbound",
             {"lscpu -e"}}};
  }
  Findings findings{check_isolation(cpu)};
  const std::string governor =
      "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cpufreq/scaling_governor";
  if (const auto chosen = read_line(governor); chosen && *chosen != "performance") {
    findings.push_back({kName,
                        Level::kWarning,
                        "processor " + std::to_string(cpu) + " is governed by " + *chosen,
                        "its frequency falls when few requests come, and the next ones wait longer",
                        {"echo performance > " + governor},
                        true});
  }
  return findings;
}

}  // namespace driftlock::doctor
