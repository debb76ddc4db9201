// The commands of driftlock-eval: each adds its options to the application and runs when chosen.
// Formats and figures are in docs/prediction.md.
#pragma once

namespace CLI {
class App;
}

namespace driftlock::eval {

void add_anomaly(CLI::App& app);
void add_liveness(CLI::App& app);
void add_stream(CLI::App& app);
void add_alarms(CLI::App& app);
void add_contention(CLI::App& app);
void add_fusion(CLI::App& app);
void add_gossip(CLI::App& app);
void add_failures(CLI::App& app);

}  // namespace driftlock::eval
