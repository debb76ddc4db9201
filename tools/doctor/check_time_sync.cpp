// Who keeps the kernel's clock and the NIC's: one of each, and it succeeds.
#include <sys/timex.h>

#include "src/base/time.hpp"
#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {
namespace {

constexpr const char* kName = "time_sync";

// Programs that steer CLOCK_REALTIME.
std::vector<std::string> steering(const std::set<std::string>& programs) {
  std::vector<std::string> found;
  for (const char* name : {"chronyd", "ntpd", "phc2sys", "systemd-timesyn", "openntpd", "ntpsec"}) {
    if (programs.count(name) != 0) found.emplace_back(name);
  }
  return found;
}

void check_kernel(const Site& site, const std::vector<std::string>& keepers, Findings& findings) {
  timex state{};
  const int result = adjtimex(&state);
  const bool synchronized = result >= 0 && result != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
  const bool trusted = site.options.clock.trust_unsynchronized;
  if (!synchronized && site.options.clock.source == "system") {
    findings.push_back(
        {kName, trusted ? Level::kWarning : Level::kError,
         "the kernel's clock is not synchronized" +
             (keepers.empty() ? std::string(", and nothing keeps it")
                              : ", although " + keepers.front() + " runs"),
         trusted ? "its times mean nothing to other machines (clock.trust_unsynchronized is set)"
                 : "the node says LOST and grants nothing",
         keepers.empty()
             ? std::vector<std::string>{"apt-get install -y chrony",
                                        "systemctl enable --now chrony"}
             : std::vector<std::string>{keepers.front() == "chronyd" ? "chronyc tracking"
                                                                     : "timedatectl"},
         keepers.empty() && !trusted});
    return;
  }
  if (synchronized && state.tai == 0) {
    findings.push_back({kName,
                        Level::kNote,
                        "the kernel was never told TAI - UTC",
                        "clock.tai_offset_s (" + std::to_string(site.options.clock.tai_offset_s) +
                            " s) is used, which a leap second would make wrong",
                        {"printf 'leapsectz right/UTC\\n' > /etc/chrony/conf.d/driftlock.conf",
                         "systemctl restart chrony"}});
  }
  if (synchronized) {
    findings.push_back({kName,
                        Level::kGood,
                        "the kernel's clock is synchronized, to " + std::to_string(state.maxerror) +
                            " us at most" + (keepers.empty() ? "" : ", by " + keepers.front()),
                        "",
                        {}});
  }
}

}  // namespace

Findings check_time_sync(const Site& site) {
  Findings findings;
  const std::set<std::string> programs = running_programs();
  const std::vector<std::string> keepers = steering(programs);
  if (keepers.size() > 1) {
    findings.push_back({kName,
                        Level::kError,
                        keepers[0] + " and " + keepers[1] + " both steer the kernel's clock",
                        "it swings between them, and its rate can be forecast by nobody",
                        {"systemctl disable --now " + keepers[0] + "   # or the other"}});
  }
  check_kernel(site, keepers, findings);
  const bool wants_ptp =
      site.options.clock.source == "phc" || !site.options.clock.ptp4l_socket.empty();
  if (wants_ptp && programs.count("ptp4l") == 0) {
    findings.push_back({kName,
                        Level::kError,
                        "ptp4l does not run",
                        "nothing keeps the PTP clock: the node goes into HOLDOVER, then LOST",
                        {"systemctl enable --now driftlock-ptp4l@" +
                         (site.interface.empty() ? std::string("INTERFACE") : site.interface)}});
  }
  const std::string& socket = site.options.clock.ptp4l_socket;
  if (!socket.empty() && !exists(socket)) {
    findings.push_back({kName,
                        Level::kError,
                        "clock.ptp4l_socket " + socket + " is not there",
                        "the node cannot ask ptp4l what its clock is worth",
                        {"grep uds_address /etc/driftlock/ptp4l.conf /etc/linuxptp/ptp4l.conf"}});
  }
  return findings;
}

}  // namespace driftlock::doctor
