#include "hw/key_file.hpp"

#include <sys/stat.h>

#include <toml++/toml.h>
#include <cerrno>
#include <cstring>

namespace driftlock {
namespace {

int digit_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

Result<ClientKey> read_client(const std::string& path, const toml::node& node) {
  const toml::table* entry = node.as_table();
  if (entry == nullptr) return Error{path + ": each [[client]] must be a table"};
  const std::optional<std::int64_t> id = (*entry)["id"].value<std::int64_t>();
  if (!id || *id <= 0) return Error{path + ": a [[client]] needs id, a whole number above 0"};
  const std::optional<std::string> digits = (*entry)["key"].value<std::string>();
  const std::string who = path + ": client " + std::to_string(*id);
  if (!digits) return Error{who + " needs key, 64 hexadecimal digits"};
  Result<SecretKey> key = parse_key(*digits);
  if (!key.ok()) return Error{who + ": " + key.error().message};
  return ClientKey{static_cast<std::uint64_t>(*id), (*entry)["name"].value_or(std::to_string(*id)),
                   *key};
}

}  // namespace

Result<SecretKey> parse_key(const std::string& digits) {
  if (digits.size() != 2 * sizeof(SecretKey::words)) {
    return Error{"a key has 64 hexadecimal digits, this one " + std::to_string(digits.size())};
  }
  std::array<std::uint8_t, sizeof(SecretKey::words)> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int high = digit_value(digits[2 * i]);
    const int low = digit_value(digits[2 * i + 1]);
    if (high < 0 || low < 0) return Error{"a key has hexadecimal digits only"};
    bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  SecretKey key;
  std::memcpy(key.words.data(), bytes.data(), bytes.size());
  return key;
}

std::string format_key(const SecretKey& key) {
  std::array<std::uint8_t, sizeof(SecretKey::words)> bytes;
  std::memcpy(bytes.data(), key.words.data(), bytes.size());
  std::string digits;
  for (const std::uint8_t byte : bytes) {
    digits.push_back("0123456789abcdef"[byte >> 4]);
    digits.push_back("0123456789abcdef"[byte & 15]);
  }
  return digits;
}

Status check_secret_file(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return Error{path + ": " + std::strerror(errno)};
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Error{path + " holds secret keys and others than its owner may use it: chmod 600 " +
                 path};
  }
  return done();
}

Result<std::vector<ClientKey>> load_key_file(const std::string& path) {
  const Status secret = check_secret_file(path);
  if (!secret.ok()) return secret.error();
  std::vector<ClientKey> keys;
  try {
    const toml::table file = toml::parse_file(path);
    const toml::array* clients = file["client"].as_array();
    if (clients == nullptr) return Error{path + ": no [[client]] in it"};
    for (const toml::node& node : *clients) {
      Result<ClientKey> client = read_client(path, node);
      if (!client.ok()) return client.error();
      for (const ClientKey& other : keys) {
        if (other.id == client->id) {
          return Error{path + ": two clients have the id " + std::to_string(other.id)};
        }
      }
      keys.push_back(std::move(client).value());
    }
  } catch (const toml::parse_error& error) {
    return Error{path + ":" + std::to_string(error.source().begin.line) + ": " +
                 std::string(error.description())};
  }
  return keys;
}

Result<ClientKey> load_client_key(const std::string& path, std::optional<std::uint64_t> client_id) {
  Result<std::vector<ClientKey>> keys = load_key_file(path);
  if (!keys.ok()) return keys.error();
  if (!client_id) {
    if (keys->size() == 1) return keys->front();
    return Error{path + " has the keys of " + std::to_string(keys->size()) +
                 " clients: say which with --client-id"};
  }
  for (const ClientKey& each : *keys) {
    if (each.id == *client_id) return each;
  }
  return Error{path + ": no key of client " + std::to_string(*client_id)};
}

}  // namespace driftlock
