// The node's configuration file: there, readable and right.
#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {

Findings check_configuration(const Site& site) {
  constexpr const char* kName = "configuration";
  if (site.config.empty() || !exists(site.config)) {
    return {{kName,
             Level::kNote,
             "no file of the node's" +
                 (site.config.empty() ? std::string() : " at " + site.config) +
                 ": its defaults are looked at",
             "a node without a file serves 127.0.0.1 alone",
             {}}};
  }
  Options options = default_options();
  std::vector<std::string> wrong = read_options_file(options, site.config);
  for (const std::string& together : check_together(options)) wrong.push_back(together);
  Findings findings;
  for (const std::string& message : wrong) {
    findings.push_back({kName,
                        Level::kError,
                        message,
                        "driftlockd does not start with it",
                        {"driftlockd --check-config " + quoted(site.config)}});
  }
  if (findings.empty())
    findings.push_back({kName, Level::kGood, site.config + " is right", "", {}});
  return findings;
}

}  // namespace driftlock::doctor
