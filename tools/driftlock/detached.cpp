#include "tools/driftlock/detached.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "hw/key_file.hpp"

namespace driftlock::cli {
namespace {

using nlohmann::json;

// A directory of the user's own: anyone could prepare one with a name that is known in advance.
Result<std::string> state_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  std::string directory = "/run/user/" + std::to_string(geteuid()) + "/driftlock";
  if (geteuid() == 0) directory = "/run/driftlock-detached";
  if (runtime != nullptr && *runtime == '/') directory = std::string(runtime) + "/driftlock";
  if (mkdir(directory.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    return Error{directory + ": " + std::strerror(errno) + " (XDG_RUNTIME_DIR says where)"};
  }
  struct stat status {};
  if (lstat(directory.c_str(), &status) != 0) {
    return Error{directory + ": " + std::strerror(errno)};
  }
  const bool own = S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
                   (status.st_mode & (S_IRWXG | S_IRWXO)) == 0;
  if (!own) return Error{directory + " is not a directory that you alone can use"};
  return directory;
}

Result<std::string> state_path(std::uint16_t namespace_id, const std::string& key) {
  Result<std::string> directory = state_directory();
  if (!directory.ok()) return directory;
  std::string path = *directory + "/" + std::to_string(namespace_id) + "-";
  for (const char each : key) {
    const auto byte = static_cast<unsigned char>(each);
    path.push_back("0123456789abcdef"[byte >> 4]);
    path.push_back("0123456789abcdef"[byte & 15]);
  }
  return path + ".json";
}

}  // namespace

Status check_detachable(std::uint16_t namespace_id, const std::string& key) {
  const Result<std::string> path = state_path(namespace_id, key);
  if (!path.ok()) return path.error();
  if (access(path.value().c_str(), F_OK) != 0) return done();
  return Error{"a lock on " + key + " is detached already: driftlock unlock " + key +
               " (or, if its lease is over, remove " + path.value() + ")"};
}

Result<std::string> save_detached(const DetachedLock& lock) {
  Result<std::string> path = state_path(lock.namespace_id, lock.key);
  if (!path.ok()) return path;
  const json object{{"server", lock.server},
                    {"namespace", lock.namespace_id},
                    {"key", lock.key},
                    {"token", lock.token},
                    {"session_id", lock.session.session_id},
                    {"session_key", format_key(lock.session.key)},
                    {"epoch", lock.session.epoch},
                    {"term_ns", lock.session.term_ns},
                    {"lease_end_ns", lock.session.lease_end_ns},
                    {"sequences", lock.session.sequences}};
  const std::string text = object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  const std::string fresh = *path + ".new";
  const int file = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
  const bool written =
      file >= 0 && write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (file >= 0) close(file);
  if (!written || rename(fresh.c_str(), path->c_str()) != 0) {
    return Error{*path + ": " + std::strerror(errno)};
  }
  return path;
}

Result<DetachedLock> load_detached(std::uint16_t namespace_id, const std::string& key) {
  const Result<std::string> path = state_path(namespace_id, key);
  if (!path.ok()) return path.error();
  std::ifstream file(path.value());
  if (!file) {
    return Error{"no lock on " + key + " was detached here (there is no " + path.value() + ")"};
  }
  const Status secret = check_secret_file(path.value());
  if (!secret.ok()) return secret.error();
  try {
    const json object = json::parse(file);
    DetachedLock lock;
    lock.server = object.at("server");
    lock.namespace_id = namespace_id;
    lock.key = key;
    lock.token = object.at("token");
    lock.session.session_id = object.at("session_id");
    lock.session.epoch = object.at("epoch");
    lock.session.term_ns = object.at("term_ns");
    lock.session.lease_end_ns = object.at("lease_end_ns");
    lock.session.sequences = object.at("sequences").get<std::vector<std::uint32_t>>();
    const Result<SecretKey> session_key = parse_key(object.at("session_key"));
    if (!session_key.ok()) return Error{path.value() + ": " + session_key.error().message};
    lock.session.key = session_key.value();
    if (lock.session.sequences.size() < 2) return Error{path.value() + ": too few slots"};
    return lock;
  } catch (const json::exception& error) {
    return Error{path.value() + ": " + error.what()};
  }
}

void forget_detached(std::uint16_t namespace_id, const std::string& key) {
  const Result<std::string> path = state_path(namespace_id, key);
  if (path.ok()) unlink(path.value().c_str());
}

}  // namespace driftlock::cli
