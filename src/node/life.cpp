#include "src/node/life.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace driftlock {
namespace {

constexpr std::uint64_t kEpochEnd = 1U << 23;  // tokens have 23 bits for it

Error failed(const std::string& what) {
  return Error{what + ": " + std::strerror(errno)};
}

// Closes on the way out, whichever way that is.
struct File {
  explicit File(int number) : descriptor(number) {}
  ~File() {
    if (descriptor >= 0) close(descriptor);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const int descriptor;
};

// After a crash the file is either the old one or the whole new one.
Status replace_file(const std::string& directory, const std::string& name, const void* bytes,
                    std::size_t size, mode_t mode) {
  const std::string path = directory + "/" + name;
  const std::string fresh = path + ".new";
  {
    const File file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (file.descriptor < 0) return failed("cannot write " + fresh);
    if (write(file.descriptor, bytes, size) != static_cast<ssize_t>(size) ||
        fsync(file.descriptor) != 0) {
      return failed("cannot write " + fresh);
    }
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) return failed("cannot replace " + path);
  const File folder(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.descriptor < 0 || fsync(folder.descriptor) != 0) {
    return failed("cannot sync " + directory);
  }
  return done();
}

Status damaged(const std::string& path) {
  return Error{path +
               " is damaged. It holds the epoch, without which fencing tokens could fall: put a "
               "line `epoch N horizon_tai_ns 0` into it, with N above every epoch used so far, "
               "after every lease has run out"};
}

}  // namespace

Life::Life(std::string directory, int lock) : directory_(std::move(directory)), lock_(lock) {}

Life::~Life() {
  close(lock_);
}

Result<std::unique_ptr<Life>> Life::begin(const std::string& directory) {
  const std::string option = "node.state_directory: ";
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Error{option + "cannot make " + directory + ": " + error.message()};
  const std::string lock_path = directory + "/lock";
  const int lock = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return failed(option + "cannot open " + lock_path);
  std::unique_ptr<Life> life(new Life(directory, lock));
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    return Error{option + "another driftlockd lives in " + directory};
  }
  for (const Status& status : {life->read(), life->read_secrets()}) {
    if (!status.ok()) return Error{option + status.error().message};
  }
  if (life->epoch_ + 1 >= kEpochEnd) return Error{option + "the epochs are used up"};
  ++life->epoch_;
  const Status recorded = life->record_horizon(life->horizon_before_ns_);
  if (!recorded.ok()) return Error{option + recorded.error().message};
  return life;
}

Status Life::record_horizon(Nanoseconds horizon_tai_ns) const {
  const std::string text = "epoch " + std::to_string(epoch_) + " horizon_tai_ns " +
                           std::to_string(horizon_tai_ns) + "\n";
  return replace_file(directory_, "life", text.data(), text.size(), 0600);
}

Status Life::read() {
  const std::string path = directory_ + "/life";
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) return done();
  std::ifstream file(path);
  if (!file) return Error{"cannot read " + path};
  std::string epoch_word;
  std::string horizon_word;
  if (!(file >> epoch_word >> epoch_ >> horizon_word >> horizon_before_ns_) ||
      epoch_word != "epoch" || horizon_word != "horizon_tai_ns") {
    return damaged(path);
  }
  return done();
}

Status Life::read_secrets() {
  static_assert(std::is_trivially_copyable_v<Secrets>);
  const std::string path = directory_ + "/secrets";
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.descriptor >= 0) {
    if (::read(file.descriptor, &secrets_, sizeof(secrets_)) == sizeof(secrets_)) return done();
    return Error{path + " is damaged: remove it (tickets of the lives before are lost with it)"};
  }
  if (errno != ENOENT) return failed("cannot read " + path);
  if (getrandom(&secrets_, sizeof(secrets_), 0) != sizeof(secrets_)) {
    return failed("the kernel gives no random bytes");
  }
  return replace_file(directory_, "secrets", &secrets_, sizeof(secrets_), 0600);
}

}  // namespace driftlock
