#include "hw/clock_segment.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

namespace driftlock {
namespace {

Error failed(const std::string& what, const std::string& path) {
  return Error{what + " " + path + ": " + std::strerror(errno)};
}

}  // namespace

// Made under another name and then renamed, so that no reader sees half a file.
Result<std::unique_ptr<ClockSegmentWriter>> ClockSegmentWriter::create(const std::string& path) {
  const std::string draft = path + "." + std::to_string(getpid());
  const int file = open(draft.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file < 0) return failed("cannot create", draft);
  if (ftruncate(file, sizeof(ClockSegmentLayout)) < 0) {
    const Error error = failed("cannot size", draft);
    close(file);
    unlink(draft.c_str());
    return error;
  }
  void* memory =
      mmap(nullptr, sizeof(ClockSegmentLayout), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) {
    const Error error = failed("cannot map", draft);
    unlink(draft.c_str());
    return error;
  }
  auto* layout = new (memory) ClockSegmentLayout;
  layout->bytes = sizeof(ClockSegmentLayout);
  layout->writer_pid = getpid();
  if (rename(draft.c_str(), path.c_str()) < 0) {
    const Error error = failed("cannot replace", path);
    munmap(memory, sizeof(ClockSegmentLayout));
    unlink(draft.c_str());
    return error;
  }
  return std::unique_ptr<ClockSegmentWriter>(new ClockSegmentWriter(path, layout));
}

ClockSegmentWriter::~ClockSegmentWriter() {
  publish(ClockSnapshot{});
  unlink(path_.c_str());
  munmap(layout_, sizeof(ClockSegmentLayout));
}

}  // namespace driftlock
