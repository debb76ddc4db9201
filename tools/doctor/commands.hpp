// `driftlock doctor` and `driftlock setup`, for the command's main to add.
#pragma once

#include <string>

namespace driftlock::doctor {

struct DoctorSettings {
  std::string config = "/etc/driftlock/driftlockd.toml";
  std::string interface;  // empty: the configuration's
  std::string etcd;
  std::string only;    // one check
  bool apply = false;  // setup
};

// 0: nothing wrong; 1: warnings; 2: errors.
int doctor_command(const DoctorSettings& settings, bool json);
// Shows what it would do; does it with `apply`. 0: nothing is left to do, or all was done; 1: it
// would do something; 2: a command failed.
int setup_command(const DoctorSettings& settings, bool json);

}  // namespace driftlock::doctor
