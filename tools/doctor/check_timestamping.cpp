// What stamps the interface can give, as `ethtool -T` tells.
#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {

Findings check_timestamping(const Site& site) {
  constexpr const char* kName = "timestamping";
  if (site.interface.empty()) return {};
  const auto abilities = timestamping_of(site.interface);
  if (!abilities) {
    return {{kName,
             Level::kWarning,
             site.interface + " does not say what stamps it can give",
             "receipt is then stamped by the node itself, microseconds later",
             {"ethtool -T " + quoted(site.interface)}}};
  }
  if (!abilities->hardware_receive) {
    return {
        {kName,
         Level::kWarning,
         site.interface + " stamps in software only",
         "the queue before the stamp counts as delay, of some microseconds and more under load; "
         "a NIC with a PTP clock stamps on the wire",
         {"ethtool -T " + quoted(site.interface)}}};
  }
  Findings findings;
  if (!abilities->hardware_transmit) {
    findings.push_back({kName,
                        Level::kWarning,
                        site.interface + " does not stamp what it sends",
                        "ptp4l cannot measure the path with hardware stamps",
                        {"ethtool -T " + quoted(site.interface)}});
  }
  if (!abilities->all_packets) {
    findings.push_back({kName,
                        Level::kNote,
                        site.interface + " stamps packets of PTP alone",
                        "lock requests are stamped by the node itself",
                        {}});
  }
  if (findings.empty()) {
    findings.push_back({kName,
                        Level::kGood,
                        site.interface + " stamps every packet in hardware, clock /dev/ptp" +
                            std::to_string(abilities->phc),
                        "",
                        {}});
  }
  return findings;
}

}  // namespace driftlock::doctor
