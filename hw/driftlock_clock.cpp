#include "hw/driftlock_clock.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <new>

#include "hw/clock_segment.hpp"
#include "hw/tick_counter.hpp"

struct driftlock_clock {
  const driftlock::ClockSegmentLayout* layout = nullptr;
};

namespace {

using driftlock::ClockReading;
using driftlock::ClockSegmentLayout;
using driftlock::ClockSnapshot;
using driftlock::ClockState;

void explain(char* error, std::size_t bytes, const char* path, const char* what) {
  if (error != nullptr && bytes > 0) std::snprintf(error, bytes, "%s: %s", path, what);
}

bool fits(int file) {
  struct stat status {};
  return fstat(file, &status) == 0 &&
         status.st_size >= static_cast<off_t>(sizeof(ClockSegmentLayout));
}

// A writer is in the middle for nanoseconds, unless it died there.
ClockReading read_now(const driftlock_clock& clock) {
  constexpr int kTries = 100'000;
  ClockSnapshot snapshot;
  for (int i = 0; i < kTries; ++i) {
    if (clock.layout->snapshot.try_load(snapshot)) {
      return driftlock::read_clock(snapshot, driftlock::read_ticks());
    }
  }
  return {};
}

std::int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

driftlock_clock* driftlock_clock_open(const char* path, char* error, size_t error_bytes) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    explain(error, error_bytes, path, std::strerror(errno));
    return nullptr;
  }
  void* memory = fits(file)
                     ? mmap(nullptr, sizeof(ClockSegmentLayout), PROT_READ, MAP_SHARED, file, 0)
                     : MAP_FAILED;
  close(file);
  if (memory == MAP_FAILED) {
    explain(error, error_bytes, path, "not a driftlock clock segment");
    return nullptr;
  }
  const auto* layout = static_cast<const ClockSegmentLayout*>(memory);
  if (layout->magic != ClockSegmentLayout::kMagic ||
      layout->version != ClockSegmentLayout::kVersion ||
      layout->bytes != sizeof(ClockSegmentLayout)) {
    munmap(memory, sizeof(ClockSegmentLayout));
    explain(error, error_bytes, path, "not a driftlock clock segment of this version");
    return nullptr;
  }
  return new (std::nothrow) driftlock_clock{layout};
}

void driftlock_clock_close(driftlock_clock* clock) {
  if (clock == nullptr) return;
  munmap(const_cast<ClockSegmentLayout*>(clock->layout), sizeof(ClockSegmentLayout));
  delete clock;
}

int driftlock_clock_now(const driftlock_clock* clock, driftlock_clock_reading* reading) {
  const ClockReading now = read_now(*clock);
  reading->earliest_ns = now.tai.earliest;
  reading->latest_ns = now.tai.latest;
  reading->estimate_ns = now.estimate_ns;
  reading->sigma_ns = now.sigma_ns;
  reading->state = static_cast<std::int32_t>(now.state);
  return now.state == ClockState::kLost ? -1 : 0;
}

int driftlock_clock_wait_until_past(const driftlock_clock* clock, int64_t tai_ns,
                                    int64_t timeout_ns) {
  constexpr std::int64_t kLongestNap = 10'000'000;  // the bound may narrow meanwhile
  const std::int64_t start = monotonic_ns();
  driftlock_clock_reading now{};
  while (driftlock_clock_now(clock, &now) == 0) {
    if (now.earliest_ns > tai_ns) return 0;
    const std::int64_t left = timeout_ns - (monotonic_ns() - start);
    if (left <= 0) return -1;
    const std::int64_t nap = std::min({tai_ns - now.earliest_ns + 1, left, kLongestNap});
    const timespec span{0, static_cast<long>(std::max<std::int64_t>(nap, 1))};
    nanosleep(&span, nullptr);
  }
  return -1;
}
