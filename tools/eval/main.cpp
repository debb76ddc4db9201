// driftlock-eval: measures the predictors against published data, traces and generated traffic.
#include <CLI/CLI.hpp>

#include "tools/eval/commands.hpp"

int main(int argc, char** argv) {
  CLI::App app{"Measures driftlock's predictors; formats and figures are in docs/prediction.md"};
  app.require_subcommand(1);
  driftlock::eval::add_anomaly(app);
  driftlock::eval::add_liveness(app);
  driftlock::eval::add_stream(app);
  driftlock::eval::add_alarms(app);
  driftlock::eval::add_contention(app);
  driftlock::eval::add_fusion(app);
  driftlock::eval::add_gossip(app);
  driftlock::eval::add_failures(app);
  CLI11_PARSE(app, argc, argv);
  return 0;
}
