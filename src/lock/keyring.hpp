// Keyring: the long-term keys of the clients that may open a session. Built at start (or anew when
// the key file changes), read by the lcore; immutable while in use.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "src/base/assert.hpp"
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
    const std::size_t place = lower_bound(client_id);
    return place < keys_.size() && keys_[place].id == client_id ? &keys_[place].key : nullptr;
  }

  // Place among clients() of a client that is known.
  [[nodiscard]] std::size_t position(std::uint64_t client_id) const {
    const std::size_t place = lower_bound(client_id);
    DRIFTLOCK_ASSERT(place < keys_.size() && keys_[place].id == client_id);
    return place;
  }

  [[nodiscard]] const std::vector<ClientKey>& clients() const { return keys_; }

 private:
  [[nodiscard]] std::size_t lower_bound(std::uint64_t client_id) const {
    const auto at =
        std::lower_bound(keys_.begin(), keys_.end(), client_id,
                         [](const ClientKey& key, std::uint64_t id) { return key.id < id; });
    return static_cast<std::size_t>(at - keys_.begin());
  }

  std::vector<ClientKey> keys_;
};

}  // namespace driftlock
