// driftlock-eval liveness: failure detectors on one heartbeat trace (a send time in ns per line, or
// generated), behind a delay and loss model. A crash is imagined right after each heartbeat:
// detection time is from there to the deadline. A mistake is a deadline that passes before the next
// arrival. At the end the detectors are compared at equal mistakes: detection time interpolated
// between the parameters of their sweep.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/predict/evaluation.hpp"
#include "src/predict/liveness.hpp"
#include "tools/eval/commands.hpp"
#include "tools/eval/heartbeats.hpp"

namespace driftlock::eval {
namespace {

struct Options {
  std::string trace;
  std::vector<std::string> detectors = {"fixed",   "phi-normal", "phi-exp", "chen",
                                        "bertier", "2w",         "ours"};
  double parameter = 0.0;  // 0: each detector's sweep
  PathModel path;
  std::uint64_t seed = 1;
  unsigned generated = 20'000;
  double period_ms = 100.0;
  bool quiet = false;
};

struct Quality {
  double parameter = 0.0;
  double detection_ms = 0.0;
  double mistakes = 0.0;
};

Quality judge(const std::string& kind, double parameter, const std::vector<Heartbeat>& heartbeats,
              bool quiet) {
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
  const double mean_ms = detections_ms.empty() ? 0.0 : spread_of(detections_ms).mean;
  if (!quiet) {
    std::printf(
        "detector=%s parameter=%g detection_mean_ms=%.2f detection_p99_ms=%.2f mistakes=%zu "
        "mistake_mean_ms=%.2f query_accuracy=%.6f\n",
        kind.c_str(), parameter, mean_ms,
        detections_ms.empty() ? 0.0 : quantile_of(detections_ms, 0.99), mistakes,
        mistakes == 0 ? 0.0 : wrong_ns / 1e6 / static_cast<double>(mistakes),
        1.0 - wrong_ns / span_ns);
  }
  return {parameter, mean_ms, static_cast<double>(mistakes)};
}

// The shortest detection time with at most so many mistakes, between neighbours of the sweep in
// proportion to the logarithm of their mistakes. Below 0: none is so careful.
double detection_at(std::vector<Quality> curve, double mistakes) {
  std::sort(curve.begin(), curve.end(),
            [](const Quality& a, const Quality& b) { return a.detection_ms < b.detection_ms; });
  const double wanted = std::log(mistakes + 1.0);
  for (std::size_t i = 0; i < curve.size(); ++i) {
    if (curve[i].mistakes > mistakes) continue;
    if (i == 0) return curve[i].detection_ms;
    const double above = std::log(curve[i - 1].mistakes + 1.0);
    const double below = std::log(curve[i].mistakes + 1.0);
    const double part = above > below ? (above - wanted) / (above - below) : 1.0;
    return curve[i - 1].detection_ms + part * (curve[i].detection_ms - curve[i - 1].detection_ms);
  }
  return -1.0;
}

void compare(const std::map<std::string, std::vector<Quality>>& curves, std::size_t heartbeats,
             const std::vector<std::string>& order) {
  for (const double share : {1e-2, 1e-3, 2e-4}) {
    const double mistakes = std::floor(share * static_cast<double>(heartbeats));
    std::printf("at_most_mistakes=%.0f", mistakes);
    for (const std::string& name : order) {
      const double detection = detection_at(curves.at(name), mistakes);
      if (detection < 0.0) {
        std::printf(" %s=never", name.c_str());
      } else {
        std::printf(" %s=%.1fms", name.c_str(), detection);
      }
    }
    std::printf("\n");
  }
}

[[noreturn]] void refuse(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  throw CLI::RuntimeError(1);
}

std::vector<double> sweep_of(const std::string& name, const Options& options) {
  const auto& kinds = detector_kinds();
  const auto kind = std::find_if(kinds.begin(), kinds.end(),
                                 [&](const DetectorKind& one) { return one.name == name; });
  if (kind == kinds.end()) refuse("no detector '" + name + "'");
  if (options.parameter > 0.0) return {options.parameter};
  return kind->sweep;
}

void run_one(const std::string& trace, const Options& options, const PathModel& path) {
  Random random(options.seed);
  auto sends = make_sends(trace, options.generated, options.period_ms, random);
  if (sends.empty()) sends = read_sends(trace);
  const auto heartbeats = deliver(sends, path, random);
  if (heartbeats.size() < 3) {
    refuse(trace +
           ": at least three send times are needed, in ns, one a line; or one of the shapes");
  }
  std::printf("trace=%s heartbeats=%zu lost=%zu\n", trace.c_str(), heartbeats.size(),
              sends.size() - heartbeats.size());
  std::map<std::string, std::vector<Quality>> curves;
  for (const std::string& name : options.detectors) {
    for (const double parameter : sweep_of(name, options)) {
      curves[name].push_back(judge(name, parameter, heartbeats, options.quiet));
    }
  }
  if (options.parameter == 0.0) compare(curves, heartbeats.size(), options.detectors);
}

void run(const Options& options, const CLI::App& command) {
  for (const TraceShape& shape : trace_shapes()) {
    if (options.trace != "all" && options.trace != shape.name) continue;
    PathModel path = shape.path;
    const auto given = [&](const char* name, double PathModel::*field) {
      if (command.count(name) > 0) path.*field = options.path.*field;
    };
    given("--loss", &PathModel::loss);
    given("--loss-again", &PathModel::loss_again);
    given("--delay-ms", &PathModel::delay_ms);
    given("--jitter", &PathModel::jitter);
    given("--spike", &PathModel::spike);
    run_one(shape.name, options, path);
    if (options.trace != "all") return;
  }
  if (options.trace != "all") run_one(options.trace, options, options.path);
}

}  // namespace

void add_liveness(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("liveness", "failure detectors on a heartbeat trace");
  std::string shapes = "a send time in ns per line; or all, or one of:";
  for (const TraceShape& shape : trace_shapes()) shapes += "\n  " + shape.name + ": " + shape.what;
  command->add_option("trace", options->trace, shapes)->required();
  command->add_option("--detectors", options->detectors, "which, separated by commas")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--parameter", options->parameter, "instead of each detector's sweep");
  command->add_option("--loss", options->path.loss, "share of heartbeats lost");
  command->add_option("--loss-again", options->path.loss_again, "... right after a lost one");
  command->add_option("--delay-ms", options->path.delay_ms, "median delay");
  command->add_option("--jitter", options->path.jitter, "sigma of ln(delay)");
  command->add_option("--spike", options->path.spike, "share of delays with a heavy tail");
  command->add_option("--count", options->generated, "heartbeats generated")->capture_default_str();
  command->add_option("--period-ms", options->period_ms, "of those generated")
      ->capture_default_str();
  command->add_option("--seed", options->seed)->capture_default_str();
  command->add_flag("--quiet", options->quiet, "the comparison at equal mistakes alone");
  command->callback([options, command] { run(*options, *command); });
}

}  // namespace driftlock::eval
