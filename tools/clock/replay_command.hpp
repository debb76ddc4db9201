// driftlock clock replay and simulate: the model over a recorded or a simulated oscillator whose
// truth is known.
#pragma once

#include "src/clock/fault_run.hpp"
#include "src/clock/replay.hpp"
#include "tools/clock/series.hpp"

namespace driftlock::cli {

struct ReplayCommandOptions {
  SeriesOptions series;
  ReplayOptions replay;
};
[[nodiscard]] int replay_command(const ReplayCommandOptions& options, bool json);

struct SimulateOptions {
  FaultRunOptions run;
  std::string noise = "all";
};
[[nodiscard]] int simulate_command(const SimulateOptions& options, bool json);

}  // namespace driftlock::cli
