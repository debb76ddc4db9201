// ClockSegment: the clock's snapshot in a shared-memory file, for programs that are not the node
// (driftlock_clock.h). writer: the node's clock thread; readers: any process, read-only. Invariant:
// a file is written by one process in its life; a new node replaces the file, it never takes over
// an old one, which a crash may have left half written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "src/base/result.hpp"
#include "src/base/seqlock.hpp"
#include "src/clock/snapshot.hpp"

namespace driftlock {

// The file's layout, version 1, in the machine's byte order; docs/timekeeping.md lists the offsets.
struct ClockSegmentLayout {
  static constexpr std::uint64_t kMagic = 0x4B434F4C43444C31;  // "1LDCLOCK"
  static constexpr std::uint32_t kVersion = 1;

  std::uint64_t magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t bytes = 0;  // of this structure
  std::int64_t writer_pid = 0;
  Seqlock<ClockSnapshot> snapshot;  // at offset 64
};
static_assert(offsetof(ClockSegmentLayout, snapshot) == 64);

class ClockSegmentWriter {
 public:
  [[nodiscard]] static Result<std::unique_ptr<ClockSegmentWriter>> create(const std::string& path);
  // Says LOST to whoever still reads, and removes the file.
  ~ClockSegmentWriter();
  ClockSegmentWriter(const ClockSegmentWriter&) = delete;
  ClockSegmentWriter& operator=(const ClockSegmentWriter&) = delete;

  void publish(const ClockSnapshot& snapshot) { layout_->snapshot.store(snapshot); }

 private:
  ClockSegmentWriter(std::string path, ClockSegmentLayout* layout)
      : path_(std::move(path)), layout_(layout) {}

  std::string path_;
  ClockSegmentLayout* layout_;
};

}  // namespace driftlock
