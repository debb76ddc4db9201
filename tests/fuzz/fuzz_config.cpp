// Fuzz target: driftlockd's configuration file. Whatever is in it, the reader names what is wrong
// or yields options that are within the table's bounds, and these can be printed and read again.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "src/base/assert.hpp"
#include "src/node/options.hpp"

using namespace driftlock;

namespace {

// A file without a place: the reader takes a path.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(memfd_create("options", 0)) { DRIFTLOCK_ASSERT(descriptor_ >= 0); }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void write(const void* data, std::size_t size) {
    DRIFTLOCK_ASSERT(ftruncate(descriptor_, 0) == 0);
    DRIFTLOCK_ASSERT(pwrite(descriptor_, data, size, 0) == static_cast<ssize_t>(size));
  }
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  file.write(data, size);
  Options options = default_options();
  if (!read_options_file(options, file.path()).empty()) return 0;
  static_cast<void>(check_together(options));
  const std::string text = options_toml(options);
  file.write(text.data(), text.size());
  Options again = default_options();
  DRIFTLOCK_ASSERT(read_options_file(again, file.path()).empty());
  DRIFTLOCK_ASSERT(options_toml(again) == text);
  return 0;
}
