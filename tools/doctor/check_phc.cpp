// The PTP hardware clock: there where it is wanted, and the service may read it.
#include <sys/stat.h>
#include <unistd.h>

#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {

Findings check_phc(const Site& site) {
  constexpr const char* kName = "phc";
  const auto abilities = timestamping_of(site.interface);
  const int phc = abilities ? abilities->phc : -1;
  const std::string of_nic = phc >= 0 ? "/dev/ptp" + std::to_string(phc) : "";
  if (site.options.clock.source != "phc") {
    if (of_nic.empty()) {
      return {
          {kName, Level::kNote, "no PTP clock is used", "the kernel's clock is the node's", {}}};
    }
    return {{kName,
             Level::kNote,
             site.interface + " has a PTP clock, " + of_nic + ", not used",
             "ptp4l keeps it to some 100 ns, which makes the bound of every time narrower",
             {"printf '[clock]\\nsource = \"phc\"\\nphc_device = \"" + of_nic + "\"\\n'"}}};
  }
  const std::string& device = site.options.clock.phc_device;
  if (!exists(device)) {
    return {{kName,
             Level::kError,
             "clock.phc_device " + device + " is not there",
             "driftlockd does not start",
             {"ls -l /dev/ptp*", "modprobe ptp"}}};
  }
  Findings findings;
  if (!of_nic.empty() && of_nic != device) {
    findings.push_back({kName,
                        Level::kWarning,
                        device + " is not the clock of " + site.interface + ", which is " + of_nic,
                        "stamps of that NIC are on another clock",
                        {"ethtool -T " + quoted(site.interface)}});
  }
  struct stat state {};
  if (stat(device.c_str(), &state) == 0 && (state.st_mode & (S_IRGRP | S_IROTH)) == 0 &&
      state.st_uid == 0 && !site.user.empty()) {
    findings.push_back({kName,
                        Level::kError,
                        device + " can be read by root alone",
                        "the service, which runs as " + site.user + ", cannot read the clock",
                        {"printf 'SUBSYSTEM==\"ptp\", GROUP=\"" + site.user +
                             "\", MODE=\"0640\"\\n' > /etc/udev/rules.d/60-driftlock.rules",
                         "udevadm control --reload", "udevadm trigger --subsystem-match=ptp"},
                        true});
  }
  if (findings.empty()) findings.push_back({kName, Level::kGood, device + " can be read", "", {}});
  return findings;
}

}  // namespace driftlock::doctor
