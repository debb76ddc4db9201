// The faults of a seed. Swarm testing (A. Groce et al., ISSTA 2012): each seed leaves some kinds
// out, because what one fault provokes another may hide.
#include <algorithm>

#include "tools/sim/options.hpp"
#include "tools/sim/random.hpp"

namespace driftlock::sim {
namespace {

struct Kind {
  FaultKind kind;
  const char* name;
  double per_second;  // mean number, where the kind is in
  Nanoseconds shortest_ns;
  Nanoseconds longest_ns;
  bool of_client;
};

constexpr std::array<Kind, kFaultKinds> kKinds{{
    {FaultKind::kLoss, "loss", 0.3, 100 * kMillisecond, 5 * kSecond, true},
    {FaultKind::kDuplication, "dup", 0.2, 100 * kMillisecond, 5 * kSecond, true},
    {FaultKind::kReordering, "reorder", 0.3, 100 * kMillisecond, 5 * kSecond, true},
    {FaultKind::kDelay, "delay", 0.4, 100 * kMillisecond, 4 * kSecond, true},
    {FaultKind::kCorruption, "corrupt", 0.2, 100 * kMillisecond, 5 * kSecond, true},
    {FaultKind::kReplay, "replay", 0.2, 100 * kMillisecond, 5 * kSecond, true},
    {FaultKind::kPartition, "partition", 0.4, 50 * kMillisecond, 4 * kSecond, true},
    {FaultKind::kOneWay, "oneway", 0.4, 50 * kMillisecond, 4 * kSecond, true},
    {FaultKind::kNodeCrash, "node-crash", 0.08, 10 * kMillisecond, 2 * kSecond, false},
    {FaultKind::kNodeFreeze, "node-freeze", 0.15, 10 * kMillisecond, 2 * kSecond, false},
    {FaultKind::kNodeSuspect, "node-suspect", 0.25, 200 * kMillisecond, 4 * kSecond, false},
    {FaultKind::kNodeHoldover, "node-holdover", 0.15, 500 * kMillisecond, 6 * kSecond, false},
    {FaultKind::kNodeLost, "node-lost", 0.12, 50 * kMillisecond, 3 * kSecond, false},
    {FaultKind::kClientCrash, "client-crash", 0.2, 10 * kMillisecond, 2 * kSecond, true},
    {FaultKind::kClientPause, "client-pause", 0.5, 50 * kMillisecond, 4 * kSecond, true},
    {FaultKind::kClockOffset, "clock-offset", 0.2, kSecond, 10 * kSecond, true},
    {FaultKind::kClockStep, "clock-step", 0.2, kMillisecond, kMillisecond, true},
    {FaultKind::kClockDrift, "clock-drift", 0.4, kSecond, 10 * kSecond, true},
    {FaultKind::kClockWalk, "clock-walk", 0.2, kSecond, 10 * kSecond, true},
}};

double size_of(FaultKind kind, Random& random) {
  switch (kind) {
    case FaultKind::kLoss:
      return random.chance(0.3) ? random.unit() : random.unit() * 0.3;
    case FaultKind::kDuplication:
    case FaultKind::kCorruption:
    case FaultKind::kReplay:
      return random.unit() * 0.3;
    case FaultKind::kReordering:  // extra delay, ns
      return static_cast<double>(random.spread(100 * kMicrosecond, 200 * kMillisecond));
    case FaultKind::kDelay:
      return static_cast<double>(random.spread(kMillisecond, 1500 * kMillisecond));
    case FaultKind::kNodeSuspect:  // half width, ns
      return static_cast<double>(random.spread(kMillisecond, 400 * kMillisecond));
    case FaultKind::kClockOffset:
    case FaultKind::kClockStep:
      return random.both_ways() *
             static_cast<double>(random.spread(kMillisecond, 100'000 * kSecond));
    case FaultKind::kClockDrift:  // of the bound
      return random.chance(0.5) ? 1.0 : -1.0;
    default:
      return 0;
  }
}

}  // namespace

const char* to_string(FaultKind kind) {
  return kKinds[static_cast<std::size_t>(kind)].name;
}

std::vector<Fault> plan_faults(const SimOptions& options, std::uint32_t clients) {
  std::vector<Fault> plan;
  Random random(options.seed, 2);
  const double seconds = static_cast<double>(options.duration_ns) / 1e9;
  for (const Kind& kind : kKinds) {
    const bool in = random.chance(0.6);
    if (!options.faults[static_cast<std::size_t>(kind.kind)] || !in) continue;
    const double scale = 0.5 + random.unit();
    const auto count =
        static_cast<std::uint32_t>(kind.per_second * seconds * scale + random.unit());
    for (std::uint32_t i = 0; i < count; ++i) {
      Fault fault;
      fault.kind = kind.kind;
      fault.from_ns = random.between(0, options.duration_ns);
      fault.until_ns = std::min(fault.from_ns + random.spread(kind.shortest_ns, kind.longest_ns),
                                options.duration_ns);
      if (kind.of_client && !random.chance(0.2))
        fault.target = static_cast<int>(random.below(clients));
      if (kind.kind == FaultKind::kClientCrash || kind.kind == FaultKind::kClientPause) {
        fault.target = static_cast<int>(random.below(clients));
      }
      fault.size = size_of(kind.kind, random);
      fault.way = random.chance(0.5);
      plan.push_back(fault);
    }
  }
  std::sort(plan.begin(), plan.end(),
            [](const Fault& a, const Fault& b) { return a.from_ns < b.from_ns; });
  return plan;
}

}  // namespace driftlock::sim
