// Keyring: the long-term keys of the clients that may open a session. Built at start (or anew when
// the key file changes), read by the lcore; immutable while in use.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "src/lock/mac.hpp"

namespace driftlock {

struct ClientKey {
  std::uint64_t id = 0;
  std::string name;
  SecretKey key;
};

class Keyring {
 public:
  explicit Keyring(std::vector<ClientKey> keys) : keys_(std::move(keys)) {
    std::sort(keys_.begin(), keys_.end(),
              [](const ClientKey& a, const ClientKey& b) { return a.id < b.id; });
  }

  // Null where no such client is known.
  [[nodiscard]] const SecretKey* find(std::uint64_t client_id) const {
    const auto at =
        std::lower_bound(keys_.begin(), keys_.end(), client_id,
                         [](const ClientKey& key, std::uint64_t id) { return key.id < id; });
    return at != keys_.end() && at->id == client_id ? &at->key : nullptr;
  }

  [[nodiscard]] const std::vector<ClientKey>& clients() const { return keys_; }

 private:
  std::vector<ClientKey> keys_;
};

}  // namespace driftlock
