// The interface that datagrams come in by: there, up, with a carrier, and with room for them.
#include <net/if.h>

#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {
namespace {

constexpr const char* kName = "nic";
// A datagram of 1408 bytes with its headers (docs/protocol.md).
constexpr int kMtuMin = 1436;

}  // namespace

Findings check_nic(const Site& site) {
  if (site.interface.empty()) {
    return {{kName,
             Level::kNote,
             "no interface is named: --interface has the NIC looked at",
             "a node on a kernel socket serves whatever interface has its address",
             {}}};
  }
  const std::string interface = quoted(site.interface);
  const auto flags = flags_of(site.interface);
  if (!flags) {
    return {{kName,
             Level::kError,
             "there is no interface '" + site.interface + "'",
             "the node cannot serve there",
             {"ip link"}}};
  }
  Findings findings;
  const std::string driver = driver_of(site.interface).value_or("unknown");
  if ((*flags & IFF_UP) == 0) {
    findings.push_back({kName,
                        Level::kError,
                        site.interface + " is down",
                        "no datagram comes in or goes out",
                        {"ip link set " + interface + " up"},
                        true});
  } else if ((*flags & IFF_RUNNING) == 0) {
    findings.push_back({kName,
                        Level::kError,
                        site.interface + " has no carrier",
                        "the cable, or the switch's port, is not there",
                        {"ethtool " + interface}});
  }
  if (const auto mtu = mtu_of(site.interface); mtu && *mtu < kMtuMin) {
    findings.push_back(
        {kName,
         Level::kError,
         site.interface + " has an MTU of " + std::to_string(*mtu) + ", less than " +
             std::to_string(kMtuMin),
         "datagrams of several operations are cut into fragments, which the node drops",
         {"ip link set " + interface + " mtu 1500"},
         true});
  }
  if (findings.empty()) {
    findings.push_back({kName, Level::kGood, site.interface + " is up, driver " + driver, "", {}});
  }
  return findings;
}

}  // namespace driftlock::doctor
