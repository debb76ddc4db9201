// The subcommands of `driftlock clock` that work on clocks themselves rather than on a node:
// analyze, record, replay, simulate.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace driftlock::cli {

// What was chosen; called after parsing, returns the exit code.
using ClockCommand = std::function<int(bool json)>;
using ChooseClockCommand = std::function<void(ClockCommand)>;

void add_clock_commands(CLI::App& clock, const ChooseClockCommand& choose);

}  // namespace driftlock::cli
