// `driftlock keygen`: a fresh long-term key, as an entry for key files.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "hw/key_file.hpp"
#include "hw/udp_transport.hpp"
#include "tools/driftlock/hold.hpp"

namespace driftlock::cli {

int keygen_command(const Settings& settings, const Report& report) {
  const std::uint64_t id = settings.client_id.value_or(1);
  const std::string key = format_key(random_seed());
  report.result({{"id", id}, {"name", settings.name}, {"key", key}},
                "[[client]]\nid = " + std::to_string(id) + "\nname = \"" + settings.name +
                    "\"\nkey = \"" + key + "\"");
  report.note(
      "add this to the node's auth.keys_file and, alone, to the client's key file; mode 600");
  return kExitOk;
}

}  // namespace driftlock::cli
