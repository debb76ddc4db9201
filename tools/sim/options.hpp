// SimOptions: all that a run depends on. The same options and the same program give the same run,
// to the byte of its trace.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/time.hpp"

namespace driftlock::sim {

enum class FaultKind : std::uint8_t {
  kLoss,
  kDuplication,
  kReordering,
  kDelay,
  kCorruption,
  kReplay,     // a datagram comes again, seconds later
  kPartition,  // both ways
  kOneWay,     // one way
  kNodeCrash,
  kNodeFreeze,
  kNodeSuspect,   // the node's bound is wide
  kNodeHoldover,  // its source is gone: the bound grows
  kNodeLost,      // it does not know the time
  kClientCrash,
  kClientPause,  // SIGSTOP, or a virtual machine moved
  kClockOffset,  // the client's system clock is wrong
  kClockStep,    // ... and jumps
  kClockDrift,   // the client's counter runs as fast or slow as its bound allows
  kClockWalk,    // ... and wanders between
};
inline constexpr std::size_t kFaultKinds = 19;

const char* to_string(FaultKind kind);

// One thing that goes wrong for a time.
struct Fault {
  FaultKind kind = FaultKind::kLoss;
  Nanoseconds from_ns = 0;  // true time since the run began
  Nanoseconds until_ns = 0;
  int target = -1;   // client, or -1: all, or the node
  double size = 0;   // its meaning is the kind's
  bool way = false;  // one-way partition: from the node
};

struct SimOptions {
  std::uint64_t seed = 1;
  std::array<bool, kFaultKinds> faults{};
  std::uint32_t clients = 0;  // 0: the seed's choice
  std::uint32_t keys = 0;     // 0: the seed's choice
  Nanoseconds duration_ns = 20 * kSecond;
  bool trace = false;
  // Of the seed's faults, only those at these places are injected.
  std::optional<std::vector<std::uint32_t>> kept;
  std::string history;  // file for the recorded operations; empty: none
};

struct SimTotals {
  std::uint64_t operations = 0;  // answered by the node
  std::uint64_t grants = 0;
  std::uint64_t datagrams = 0;
  std::uint64_t sessions_lost = 0;
  std::uint64_t histories = 0;  // of locks, looked at for linearizability
  std::uint64_t undecided = 0;  // of these, given up
  Nanoseconds simulated_ns = 0;
  std::array<std::uint64_t, kFaultKinds> injected{};

  void add(const SimTotals& other) {
    operations += other.operations;
    grants += other.grants;
    datagrams += other.datagrams;
    sessions_lost += other.sessions_lost;
    histories += other.histories;
    undecided += other.undecided;
    simulated_ns += other.simulated_ns;
    for (std::size_t i = 0; i < kFaultKinds; ++i) injected[i] += other.injected[i];
  }
};

// The first broken promise ends a run.
struct Verdict {
  bool ok = true;
  std::string check;    // which promise: "exclusion", "order", ...
  std::string message;  // how it was broken
  Nanoseconds at_ns = 0;
  std::uint32_t faults_planned = 0;
  SimTotals totals;
};

// Chosen by the seed in a stream of its own, so that leaving some out changes nothing else.
[[nodiscard]] std::vector<Fault> plan_faults(const SimOptions& options, std::uint32_t clients);

[[nodiscard]] Verdict run_seed(const SimOptions& options);

}  // namespace driftlock::sim
