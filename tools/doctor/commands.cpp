#include "tools/doctor/commands.hpp"

#include <pwd.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {
namespace {

using nlohmann::json;

// "net_af_xdp0,iface=eth1" names eth1.
std::string interface_of(const std::string& device) {
  const std::size_t at = device.find("iface=");
  if (at == std::string::npos) return "";
  return device.substr(at + 6, device.find(',', at) - at - 6);
}

Site look(const DoctorSettings& settings) {
  Site site;
  site.config = settings.config;
  site.options = default_options();
  // What is wrong with the file is a finding, not a failure.
  if (exists(settings.config)) static_cast<void>(read_options_file(site.options, settings.config));
  site.interface = settings.interface;
  if (site.interface.empty()) site.interface = interface_of(site.options.port.device);
  if (site.interface.empty()) site.interface = site.options.probe.interface;
  site.etcd = settings.etcd;
  if (getpwnam(kServiceUser) != nullptr) site.user = kServiceUser;
  return site;
}

json describe(const Finding& finding) {
  return {{"check", finding.check}, {"level", to_string(finding.level)},
          {"what", finding.what},   {"why", finding.why},
          {"mend", finding.mend},   {"setup", finding.setup}};
}

void print(const Finding& finding) {
  std::printf("%-8s %-14s %s\n", to_string(finding.level), finding.check.c_str(),
              finding.what.c_str());
  if (!finding.why.empty()) std::printf("%23s %s\n", "", finding.why.c_str());
  for (const std::string& command : finding.mend) std::printf("%23s # %s\n", "", command.c_str());
}

int exit_code(const Findings& findings) {
  Level worst = Level::kGood;
  for (const Finding& finding : findings) worst = std::max(worst, finding.level);
  return worst == Level::kError ? 2 : worst == Level::kWarning ? 1 : 0;
}

// Runs a command as it was shown; its exit code.
int run(const std::string& command) {
  std::fflush(stdout);
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

Findings to_do(const Findings& findings) {
  Findings chosen;
  std::copy_if(
      findings.begin(), findings.end(), std::back_inserter(chosen),
      [](const Finding& finding) { return finding.setup && finding.level >= Level::kWarning; });
  return chosen;
}

}  // namespace

int doctor_command(const DoctorSettings& settings, bool as_json) {
  const Findings findings = examine(look(settings), settings.only);
  const int code = exit_code(findings);
  if (as_json) {
    json list = json::array();
    for (const Finding& finding : findings) list.push_back(describe(finding));
    std::printf("%s\n", json{{"findings", list}, {"exit", code}}.dump().c_str());
    return code;
  }
  for (const Finding& finding : findings) print(finding);
  const auto count = [&findings](Level level) {
    return std::count_if(findings.begin(), findings.end(),
                         [level](const Finding& finding) { return finding.level == level; });
  };
  std::printf("\n%d errors, %d warnings%s\n", static_cast<int>(count(Level::kError)),
              static_cast<int>(count(Level::kWarning)),
              to_do(findings).empty() ? "" : "; `driftlock setup` mends some of it");
  return code;
}

int setup_command(const DoctorSettings& settings, bool as_json) {
  const Findings chosen = to_do(examine(look(settings), settings.only));
  if (settings.apply && !chosen.empty() && !is_root()) {
    std::fputs("driftlock: setup --apply needs root\n", stderr);
    return 2;
  }
  json done = json::array();
  int failed = 0;
  for (const Finding& finding : chosen) {
    if (!as_json) std::printf("%s: %s\n", finding.check.c_str(), finding.what.c_str());
    for (const std::string& command : finding.mend) {
      if (!as_json) std::printf("  # %s\n", command.c_str());
      const int code = settings.apply ? run(command) : 0;
      failed += code == 0 ? 0 : 1;
      done.push_back({{"check", finding.check},
                      {"command", command},
                      {"applied", settings.apply},
                      {"exit", code}});
      if (code == 0) continue;
      if (!as_json) std::printf("  exited %d\n", code);
      break;  // what follows builds upon it
    }
  }
  if (as_json) std::printf("%s\n", json{{"commands", done}, {"failed", failed}}.dump().c_str());
  if (failed != 0) return 2;
  if (chosen.empty()) {
    if (!as_json) std::puts("nothing to do");
    return 0;
  }
  if (settings.apply) return 0;
  if (!as_json) std::puts("\nnothing was changed: --apply does it");
  return 1;
}

}  // namespace driftlock::doctor
