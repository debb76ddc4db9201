// driftlock-sim: runs the lock service in a simulated world under seeds, and says what broke.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "tools/sim/mutation.hpp"
#include "tools/sim/runner.hpp"

namespace {

using namespace driftlock;       // the program, not a library
using namespace driftlock::sim;  // (as above)

struct Arguments {
  std::uint64_t seeds = 100;
  std::uint64_t first = 1;
  std::uint64_t seed = 0;
  bool one = false;
  std::string faults = "all";
  std::string keep;
  std::string mutation;
  bool mutations = false;
  bool minimize = false;
  double duration_s = 20;
  std::uint32_t jobs = 1;
  SimOptions options;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::string part;
  for (const char c : text + ",") {
    if (c != ',') {
      part.push_back(c);
    } else if (!part.empty()) {
      parts.push_back(std::move(part));
      part.clear();
    }
  }
  return parts;
}

bool parse_faults(const std::string& text, SimOptions& options) {
  options.faults.fill(text == "all");
  if (text == "all" || text == "none") return true;
  for (const std::string& name : split(text)) {
    bool known = false;
    for (std::size_t i = 0; i < kFaultKinds; ++i) {
      if (name != to_string(static_cast<FaultKind>(i))) continue;
      options.faults[i] = known = true;
    }
    if (!known) return false;
  }
  return true;
}

int mutation_index(const std::string& name) {
  const auto all = mutation::all();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (name == all[i].name) return static_cast<int>(i);
  }
  return -1;
}

std::string replay(const Arguments& arguments, std::uint64_t seed) {
  std::string line =
      "driftlock-sim --seed " + std::to_string(seed) + " --faults " + arguments.faults;
  char duration[32];
  std::snprintf(duration, sizeof(duration), " --duration %g", arguments.duration_s);
  line += duration;
  const SimOptions& options = arguments.options;
  if (options.clients != 0) line += " --clients " + std::to_string(options.clients);
  if (options.keys != 0) line += " --keys " + std::to_string(options.keys);
  if (!arguments.mutation.empty()) line += " --mutation " + arguments.mutation;
  if (!arguments.keep.empty()) line += " --keep " + arguments.keep;
  return line;
}

void print_failure(const Arguments& arguments, std::uint64_t seed, const Verdict& verdict) {
  std::printf("seed %llu FAILED at %.6f s: %s: %s\n  replay: %s\n",
              static_cast<unsigned long long>(seed), static_cast<double>(verdict.at_ns) / 1e9,
              verdict.check.c_str(), verdict.message.c_str(), replay(arguments, seed).c_str());
  std::fflush(stdout);
}

void print_totals(const SimTotals& totals, double wall_s) {
  std::printf("operations %llu, grants %llu, datagrams %llu, sessions lost %llu\n",
              static_cast<unsigned long long>(totals.operations),
              static_cast<unsigned long long>(totals.grants),
              static_cast<unsigned long long>(totals.datagrams),
              static_cast<unsigned long long>(totals.sessions_lost));
  std::printf("histories of locks linearizable %llu, undecided %llu\n",
              static_cast<unsigned long long>(totals.histories - totals.undecided),
              static_cast<unsigned long long>(totals.undecided));
  std::printf("faults injected:");
  for (std::size_t i = 0; i < kFaultKinds; ++i) {
    if (totals.injected[i] == 0) continue;
    std::printf(" %s %llu", to_string(static_cast<FaultKind>(i)),
                static_cast<unsigned long long>(totals.injected[i]));
  }
  std::printf("\nsimulated time %.0f s, wall time %.1f s\n",
              static_cast<double>(totals.simulated_ns) / 1e9, wall_s);
}

class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

int run_one(Arguments& arguments) {
  SimOptions& options = arguments.options;
  options.seed = arguments.seed;
  mutation::activate(mutation_index(arguments.mutation));
  const Stopwatch stopwatch;
  const Verdict verdict = run_seed(options);
  if (verdict.ok) {
    std::printf("seed %llu passed\n", static_cast<unsigned long long>(arguments.seed));
  } else {
    print_failure(arguments, arguments.seed, verdict);
  }
  print_totals(verdict.totals, stopwatch.seconds());
  if (verdict.ok || !arguments.minimize) return verdict.ok ? 0 : 1;
  arguments.keep.clear();
  for (const std::uint32_t fault : minimize(options, verdict)) {
    arguments.keep += (arguments.keep.empty() ? "" : ",") + std::to_string(fault);
  }
  if (arguments.keep.empty()) arguments.keep = "none";
  std::printf("of %u faults these suffice: %s\n  replay: %s --trace\n", verdict.faults_planned,
              arguments.keep.c_str(), replay(arguments, arguments.seed).c_str());
  return 1;
}

int run_many(const Arguments& arguments) {
  const Stopwatch stopwatch;
  const Sweep plan{arguments.first, arguments.seeds, arguments.jobs,
                   mutation_index(arguments.mutation), false};
  const SweepResult result = sweep(
      arguments.options, plan,
      [&](std::uint64_t seed, const Verdict& verdict) { print_failure(arguments, seed, verdict); });
  std::printf("seeds %llu to %llu, faults %s: %llu of %llu failed\n",
              static_cast<unsigned long long>(arguments.first),
              static_cast<unsigned long long>(arguments.first + arguments.seeds - 1),
              arguments.faults.c_str(), static_cast<unsigned long long>(result.failed),
              static_cast<unsigned long long>(result.run));
  print_totals(result.totals, stopwatch.seconds());
  return result.failed == 0 ? 0 : 1;
}

int run_mutations(const Arguments& arguments) {
  const auto all = mutation::all();
  if (all.empty()) {
    std::fprintf(stderr, "this build has no mutations: meson configure -Dmutants=true\n");
    return 77;
  }
  std::size_t missed = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Stopwatch stopwatch;
    const Sweep plan{arguments.first, arguments.seeds, arguments.jobs, static_cast<int>(i), true};
    const SweepResult result = sweep(arguments.options, plan, [](std::uint64_t, const Verdict&) {});
    if (result.failed == 0) {
      ++missed;
      std::printf("MISSED %-28s %s (%llu seeds, %.1f s)\n", all[i].name, all[i].what,
                  static_cast<unsigned long long>(result.run), stopwatch.seconds());
    } else {
      std::printf("caught %-28s by seed %-5llu check %-10s after %llu seeds, %.1f s: %s\n",
                  all[i].name, static_cast<unsigned long long>(result.failing_seed),
                  result.failure.check.c_str(), static_cast<unsigned long long>(result.run),
                  stopwatch.seconds(), all[i].what);
    }
    std::fflush(stdout);
  }
  std::printf("%zu of %zu mutations caught\n", all.size() - missed, all.size());
  return missed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  SimOptions& options = arguments.options;
  CLI::App app{
      "Runs driftlock in a simulated world: engine, fast path and client library, with "
      "faults, under seeds; checks its promises with true time."};
  app.add_option("--seeds", arguments.seeds, "how many seeds")->capture_default_str();
  app.add_option("--first", arguments.first, "the first of them")->capture_default_str();
  CLI::Option* seed = app.add_option("--seed", arguments.seed, "one seed");
  app.add_option("--faults", arguments.faults, "all, none, or names with commas")
      ->capture_default_str();
  app.add_option("--keep", arguments.keep, "of one seed's faults, inject only these numbers; none");
  app.add_option("--clients", options.clients, "how many clients; 0: the seed's choice");
  app.add_option("--keys", options.keys, "how many locks; 0: the seed's choice");
  app.add_option("--duration", arguments.duration_s, "with faults, simulated s")
      ->capture_default_str();
  app.add_option("--history", options.history, "write one seed's history to this file");
  app.add_option("--mutation", arguments.mutation, "switch on one deliberate bug");
  app.add_option("-j,--jobs", arguments.jobs, "threads")->capture_default_str();
  app.add_flag("--mutations", arguments.mutations, "find every deliberate bug");
  app.add_flag("--minimize", arguments.minimize, "reduce a failing seed's faults");
  app.add_flag("--trace", options.trace, "print what happens");
  CLI11_PARSE(app, argc, argv);
  arguments.one = seed->count() > 0;
  options.duration_ns = static_cast<Nanoseconds>(arguments.duration_s * 1e9);
  if (!parse_faults(arguments.faults, options)) {
    std::fprintf(stderr, "unknown fault in --faults %s\n", arguments.faults.c_str());
    return 2;
  }
  if (!arguments.mutation.empty() && mutation_index(arguments.mutation) < 0) {
    std::fprintf(stderr, "no mutation %s in this build\n", arguments.mutation.c_str());
    return 2;
  }
  if (!arguments.keep.empty()) {
    options.kept.emplace();
    for (const std::string& number : split(arguments.keep)) {
      if (number != "none") options.kept->push_back(static_cast<std::uint32_t>(std::stoul(number)));
    }
  }
  if (arguments.mutations) return run_mutations(arguments);
  return arguments.one ? run_one(arguments) : run_many(arguments);
}
