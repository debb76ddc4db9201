// Runner: many seeds, in threads, each seed in one; the search for the seed that catches a
// mutation; and the reduction of a failing run's faults.
#pragma once

#include <functional>

#include "tools/sim/options.hpp"

namespace driftlock::sim {

struct Sweep {
  std::uint64_t first = 1;
  std::uint64_t seeds = 1;
  std::uint32_t jobs = 1;
  int mutation = -1;
  bool stop_at_first = false;
};

struct SweepResult {
  SimTotals totals;
  std::uint64_t run = 0;
  std::uint64_t failed = 0;
  // The lowest seed that failed among those that were run.
  std::uint64_t failing_seed = 0;
  Verdict failure;
};

// failed: called for each failing seed, from one thread at a time.
[[nodiscard]] SweepResult sweep(const SimOptions& options, const Sweep& sweep,
                                const std::function<void(std::uint64_t, const Verdict&)>& failed);

// Delta debugging (A. Zeller, R. Hildebrandt, "Simplifying and isolating failure-inducing input",
// IEEE TSE 28(2), 2002) of the faults of a run that breaks the same promise.
[[nodiscard]] std::vector<std::uint32_t> minimize(const SimOptions& options,
                                                  const Verdict& failure);

}  // namespace driftlock::sim
