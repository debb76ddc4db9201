// Watches the clocks that nodes publish against the machine's own, which is the truth where their
// sources are rehearsed: a thousand looks a second at each segment, until SIGTERM. Prints a line at
// every look that finds the truth outside what is published, at most 20, and the sums in the end.
// usage: clock_truth SEGMENT...
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <vector>

#include "hw/driftlock_clock.h"

namespace {

volatile std::sig_atomic_t stopping = 0;

long long truth_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return (now.tv_sec + 37LL) * 1'000'000'000LL + now.tv_nsec;
}

struct Watched {
  const char* path = nullptr;
  driftlock_clock* clock = nullptr;
  unsigned long long looks = 0;
  unsigned long long lost = 0;
  unsigned long long violations = 0;
  long long worst_ns = 0;
  long long widest_ns = 0;
};

void look(Watched& watched) {
  driftlock_clock_reading reading{};
  const long long before = truth_ns();
  driftlock_clock_now(watched.clock, &reading);
  const long long after = truth_ns();
  ++watched.looks;
  if (reading.state == DRIFTLOCK_CLOCK_LOST) {
    ++watched.lost;
    return;
  }
  watched.widest_ns =
      std::max<long long>(watched.widest_ns, (reading.latest_ns - reading.earliest_ns) / 2);
  const long long outside =
      std::max<long long>(before - reading.latest_ns, reading.earliest_ns - after);
  if (outside <= 0) return;
  watched.worst_ns = std::max(watched.worst_ns, outside);
  if (++watched.violations <= 20) {
    std::printf("violation %s outside_ns=%lld half_ns=%lld\n", watched.path, outside,
                static_cast<long long>(reading.latest_ns - reading.earliest_ns) / 2);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { stopping = 1; });
  std::vector<Watched> all;
  for (int i = 1; i < argc; ++i) {
    Watched watched;
    watched.path = argv[i];
    std::array<char, 256> error{};
    watched.clock = driftlock_clock_open(argv[i], error.data(), error.size());
    if (watched.clock == nullptr) {
      std::fprintf(stderr, "%s: %s\n", argv[i], error.data());
      return 2;
    }
    all.push_back(watched);
  }
  std::printf("watching\n");
  std::fflush(stdout);
  while (stopping == 0) {
    for (Watched& watched : all) look(watched);
    const timespec pause{0, 1'000'000};
    nanosleep(&pause, nullptr);
  }
  unsigned long long violations = 0;
  for (const Watched& watched : all) {
    std::printf(
        "watched %s looks=%llu lost=%llu violations=%llu worst_ns=%lld widest_half_ns=%lld\n",
        watched.path, watched.looks, watched.lost, watched.violations, watched.worst_ns,
        watched.widest_ns);
    violations += watched.violations;
  }
  return violations == 0 ? 0 : 1;
}
