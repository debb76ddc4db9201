// Key files: long-term client keys, in TOML, for the node (many) and for a client (one). A file
// that others may read is refused: whoever reads a key can take and free its client's locks.
//
//   [[client]]
//   id = 1
//   name = "demo"
//   key = "64 hexadecimal digits"
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/base/result.hpp"
#include "src/lock/keyring.hpp"

namespace driftlock {

[[nodiscard]] Result<std::vector<ClientKey>> load_key_file(const std::string& path);

// The client with this id or, without one, the only client of the file.
[[nodiscard]] Result<ClientKey> load_client_key(const std::string& path,
                                                std::optional<std::uint64_t> client_id);

// The 32 bytes of 64 hexadecimal digits, in order.
[[nodiscard]] Result<SecretKey> parse_key(const std::string& digits);
[[nodiscard]] std::string format_key(const SecretKey& key);

// Refuses a file that its group or others may read or write.
[[nodiscard]] Status check_secret_file(const std::string& path);

}  // namespace driftlock
