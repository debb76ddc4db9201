// Keys of clients, and where the node keeps its own secrets: there, right, and nobody else's.
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hw/key_file.hpp"
#include "tools/doctor/finding.hpp"
#include "tools/doctor/machine.hpp"

namespace driftlock::doctor {
namespace {

constexpr const char* kName = "keys";

std::string name_of(uid_t uid) {
  const passwd* entry = getpwuid(uid);
  return entry != nullptr ? entry->pw_name : std::to_string(uid);
}

// Whose it should be: the service's user, where that is installed.
void check_owner(const Site& site, const std::string& path, const struct stat& state,
                 Findings& findings) {
  if (site.user.empty() || name_of(state.st_uid) == site.user) return;
  findings.push_back({kName,
                      Level::kError,
                      path + " belongs to " + name_of(state.st_uid) + ", not to " + site.user,
                      "the service cannot read it",
                      {"chown " + site.user + ": " + quoted(path)},
                      true});
}

void check_key_file(const Site& site, Findings& findings) {
  const std::string& path = site.options.auth.keys_file;
  struct stat state {};
  if (stat(path.c_str(), &state) != 0) {
    const std::string owner =
        site.user.empty() ? "" : " && chown " + site.user + ": " + quoted(path);
    findings.push_back(
        {kName,
         Level::kError,
         "there is no " + path + " (auth.keys_file)",
         "driftlockd does not start: nobody could open a session",
         {"(umask 077; driftlock keygen --name local > " + quoted(path) + ")" + owner},
         true});
    return;
  }
  if ((state.st_mode & 077) != 0) {
    findings.push_back({kName,
                        Level::kError,
                        path + " can be read by others than its owner",
                        "whoever reads a key is that client, and takes and frees its locks",
                        {"chmod 600 " + quoted(path)},
                        true});
  }
  check_owner(site, path, state, findings);
  if (access(path.c_str(), R_OK) != 0) {
    findings.push_back({kName,
                        Level::kNote,
                        path + " cannot be read by you: its content is unseen",
                        "",
                        {"sudo driftlock doctor"}});
  } else if ((state.st_mode & 077) == 0) {
    const auto keys = load_key_file(path);
    if (!keys.ok()) {
      findings.push_back({kName,
                          Level::kError,
                          keys.error().message,
                          "driftlockd does not start",
                          {"driftlock keygen"}});
    }
  }
}

void check_state(const Site& site, Findings& findings) {
  const std::string& path = site.options.node.state_directory;
  struct stat state {};
  if (stat(path.c_str(), &state) != 0) {
    findings.push_back({kName,
                        Level::kNote,
                        "there is no " + path + " (node.state_directory) yet",
                        "the node makes it at its first start",
                        {}});
    return;
  }
  if ((state.st_mode & 077) != 0) {
    findings.push_back({kName,
                        Level::kError,
                        path + " is open to others than its owner",
                        "the keys that sign tickets lie there",
                        {"chmod 700 " + quoted(path)},
                        true});
  }
  check_owner(site, path, state, findings);
}

}  // namespace

Findings check_keys(const Site& site) {
  Findings findings;
  check_key_file(site, findings);
  check_state(site, findings);
  if (findings.empty()) {
    findings.push_back(
        {kName, Level::kGood, site.options.auth.keys_file + " is its owner's alone", "", {}});
  }
  return findings;
}

}  // namespace driftlock::doctor
