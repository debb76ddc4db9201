// driftlock-eval liveness: failure detectors on one heartbeat trace (a send time in ns per line),
// behind a delay and loss model. A crash is imagined right after each heartbeat: detection time is
// from there to the deadline. A mistake is a deadline that passes before the next arrival.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "src/predict/evaluation.hpp"
#include "src/predict/liveness.hpp"
#include "src/predict/random.hpp"
#include "tools/eval/commands.hpp"

namespace driftlock::eval {
namespace {

struct Options {
  std::string trace;
  std::vector<std::string> detectors = {"fixed",   "phi-normal", "phi-exp", "chen",
                                        "bertier", "2w",         "ours"};
  double parameter = 0.0;  // 0: each detector's sweep
  double loss = 0.01;
  double delay_ms = 1.0;
  double jitter = 0.5;  // sigma of the log-normal delay
  std::uint64_t seed = 1;
  unsigned generated = 20'000;
  double period_ms = 100.0;
};

struct Heartbeat {
  Nanoseconds sent_ns = 0;
  Nanoseconds arrived_ns = 0;
};

std::vector<Nanoseconds> sends_of(const Options& options, Random& random) {
  std::vector<Nanoseconds> sends;
  if (options.trace == "generated") {
    double now = 0.0;
    for (unsigned i = 0; i < options.generated; ++i) {
      now += options.period_ms * 1e6 * (0.9 + 0.2 * random.uniform());
      sends.push_back(static_cast<Nanoseconds>(now));
    }
    return sends;
  }
  std::ifstream file(options.trace);
  for (Nanoseconds send = 0; file >> send;) sends.push_back(send);
  std::sort(sends.begin(), sends.end());
  return sends;
}

std::vector<Heartbeat> deliver(const std::vector<Nanoseconds>& sends, const Options& options,
                               Random& random) {
  std::vector<Heartbeat> heartbeats;
  for (const Nanoseconds send : sends) {
    const double delay_ns = options.delay_ms * 1e6 * std::exp(options.jitter * random.normal());
    if (random.uniform() < options.loss) continue;
    heartbeats.push_back({send, send + static_cast<Nanoseconds>(delay_ns)});
  }
  std::sort(heartbeats.begin(), heartbeats.end(),
            [](const Heartbeat& a, const Heartbeat& b) { return a.arrived_ns < b.arrived_ns; });
  return heartbeats;
}

void judge(const std::string& kind, double parameter, const std::vector<Heartbeat>& heartbeats) {
  const auto detector = make_detector(kind, parameter);
  std::vector<double> detections_ms;
  double wrong_ns = 0.0;
  std::size_t mistakes = 0;
  for (std::size_t i = 0; i + 1 < heartbeats.size(); ++i) {
    detector->arrived(heartbeats[i].arrived_ns);
    const Nanoseconds deadline_ns = detector->suspect_at();
    if (deadline_ns == kNever) continue;
    const Nanoseconds suspected_ns = std::max(deadline_ns, heartbeats[i].arrived_ns);
    detections_ms.push_back(static_cast<double>(suspected_ns - heartbeats[i].sent_ns) / 1e6);
    if (suspected_ns >= heartbeats[i + 1].arrived_ns) continue;
    ++mistakes;
    wrong_ns += static_cast<double>(heartbeats[i + 1].arrived_ns - suspected_ns);
  }
  const auto span_ns =
      static_cast<double>(heartbeats.back().arrived_ns - heartbeats.front().arrived_ns);
  std::printf(
      "detector=%s parameter=%g detection_mean_ms=%.2f detection_p99_ms=%.2f mistakes=%zu "
      "mistake_mean_ms=%.2f query_accuracy=%.6f\n",
      kind.c_str(), parameter, spread_of(detections_ms).mean, quantile_of(detections_ms, 0.99),
      mistakes, mistakes == 0 ? 0.0 : wrong_ns / 1e6 / static_cast<double>(mistakes),
      1.0 - wrong_ns / span_ns);
}

void run(const Options& options) {
  Random random(options.seed);
  const auto heartbeats = deliver(sends_of(options, random), options, random);
  if (heartbeats.size() < 3) {
    std::fprintf(stderr, "%s: at least three send times are needed, in ns, one a line\n",
                 options.trace.c_str());
    throw CLI::RuntimeError(1);
  }
  for (const std::string& name : options.detectors) {
    const auto& kinds = detector_kinds();
    const auto kind = std::find_if(kinds.begin(), kinds.end(),
                                   [&](const DetectorKind& one) { return one.name == name; });
    if (kind == kinds.end()) {
      std::fprintf(stderr, "no detector '%s'\n", name.c_str());
      throw CLI::RuntimeError(1);
    }
    if (options.parameter > 0.0) {
      judge(name, options.parameter, heartbeats);
      continue;
    }
    for (const double parameter : kind->sweep) judge(name, parameter, heartbeats);
  }
}

}  // namespace

void add_liveness(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("liveness", "failure detectors on a heartbeat trace");
  command->add_option("trace", options->trace, "a send time in ns per line, or 'generated'")
      ->required();
  command->add_option("--detectors", options->detectors, "which, separated by commas")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--parameter", options->parameter, "instead of each detector's sweep");
  command->add_option("--loss", options->loss, "share of heartbeats lost")->capture_default_str();
  command->add_option("--delay-ms", options->delay_ms, "median delay")->capture_default_str();
  command->add_option("--jitter", options->jitter, "sigma of ln(delay)")->capture_default_str();
  command->add_option("--count", options->generated, "heartbeats generated")->capture_default_str();
  command->add_option("--period-ms", options->period_ms, "of those generated")
      ->capture_default_str();
  command->add_option("--seed", options->seed)->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace driftlock::eval
