// Locks held beyond the life of the command that took them. The session's key is in a file that
// only its user can read, $XDG_RUNTIME_DIR/driftlock/NAMESPACE-KEY.json; nobody renews the session,
// so the lock ends with the lease unless `driftlock unlock` is earlier.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/result.hpp"
#include "src/client/session_core.hpp"

namespace driftlock::cli {

struct DetachedLock {
  std::string server;
  std::uint16_t namespace_id = 0;
  std::string key;
  std::uint64_t token = 0;
  client::SavedSession session;
};

// Whether a lock of this name can be detached here: a place to write to, and none there already.
[[nodiscard]] Status check_detachable(std::uint16_t namespace_id, const std::string& key);
// Returns the file's path.
[[nodiscard]] Result<std::string> save_detached(const DetachedLock& lock);
[[nodiscard]] Result<DetachedLock> load_detached(std::uint16_t namespace_id,
                                                 const std::string& key);
void forget_detached(std::uint16_t namespace_id, const std::string& key);

}  // namespace driftlock::cli
