#include "tools/clock/replay_command.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace driftlock::cli {
namespace {

// A faster clock than this is none, and its record in the wrong unit.
constexpr double kFastest = 0.01;

void print_baselines(const ReplayResult& result) {
  if (result.baselines.empty()) return;
  std::printf("\n%-26s", "error rms, ns, at");
  for (const HorizonResult& at : result.horizons) std::printf(" %10.6g s", at.horizon_s);
  std::printf("\n%-26s", "driftlock");
  for (const HorizonResult& at : result.horizons) std::printf(" %12.4g", at.rms_ns);
  std::vector<double> best(result.horizons.size(), 1e300);
  for (const BaselineResult& line : result.baselines) {
    std::printf("\n%-26s", line.name.c_str());
    for (std::size_t i = 0; i < line.rms_ns.size(); ++i) {
      std::printf(" %12.4g", line.rms_ns[i]);
      best[i] = std::min(best[i], line.rms_ns[i]);
    }
  }
  std::printf("\n%-26s", "best baseline");
  for (const double rms : best) std::printf(" %12.4g", rms);
  std::printf("\n");
}

void print(const ReplayResult& result) {
  std::printf("errors after %.6g s of warm-up; statistical bound %.2g sigma (stated 99.9%%)\n\n",
              result.warmup_s, kStatisticalSigmas);
  std::printf("%10s %10s %12s %12s %10s %10s %14s %10s\n", "horizon s", "forecasts", "rms ns",
              "stat +- ns", "coverage", "cold", "hard +- ns", "violations");
  for (const HorizonResult& at : result.horizons) {
    std::printf("%10.6g %10llu %12.4g %12.4g %9.3f%% %9.3f%% %14.6g %10llu\n", at.horizon_s,
                static_cast<unsigned long long>(at.forecasts), at.rms_ns,
                at.statistical_half_width_ns, 100.0 * at.statistical_coverage,
                100.0 * at.cold_coverage, at.hard_half_width_ns,
                static_cast<unsigned long long>(at.hard_violations));
  }
  std::printf(
      "\nNIS %.3f; learned: source's noise %.4g ns, q1 %.3g ns^2/s, q2 %.3g (ns/s)^2/s; %llu "
      "suspicious samples, %llu steps\n",
      result.nis, result.learned_noise_ns, result.learned.q1, result.learned.q2,
      static_cast<unsigned long long>(result.suspicious),
      static_cast<unsigned long long>(result.steps));
  print_baselines(result);
}

void print_json(const ReplayResult& result) {
  nlohmann::json horizons = nlohmann::json::array();
  for (const HorizonResult& at : result.horizons) {
    horizons.push_back({{"horizon_s", at.horizon_s},
                        {"forecasts", at.forecasts},
                        {"rms_ns", at.rms_ns},
                        {"statistical_half_width_ns", at.statistical_half_width_ns},
                        {"statistical_coverage", at.statistical_coverage},
                        {"cold_coverage", at.cold_coverage},
                        {"hard_half_width_ns", at.hard_half_width_ns},
                        {"hard_violations", at.hard_violations}});
  }
  nlohmann::json baselines = nlohmann::json::array();
  for (const BaselineResult& line : result.baselines) {
    baselines.push_back({{"name", line.name}, {"rms_ns", line.rms_ns}});
  }
  const nlohmann::json all = {{"horizons", horizons},
                              {"baselines", baselines},
                              {"nis", result.nis},
                              {"warmup_s", result.warmup_s},
                              {"learned_noise_ns", result.learned_noise_ns},
                              {"q1_ns2_per_s", result.learned.q1},
                              {"q2_ns2_per_s3", result.learned.q2},
                              {"suspicious", result.suspicious},
                              {"steps", result.steps}};
  std::printf("%s\n", all.dump().c_str());
}

void print_run(OscillatorNoise noise, const FaultRunResult& run, bool json) {
  const auto promised = static_cast<double>(std::max<std::uint64_t>(run.readings - run.lost, 1));
  const double coverage = 1.0 - static_cast<double>(run.outside) / promised;
  const double unbiased = 1.0 - static_cast<double>(run.unbiased_outside) /
                                    static_cast<double>(std::max<std::uint64_t>(run.unbiased, 1));
  if (json) {
    const nlohmann::json line = {{"noise", to_string(noise)},
                                 {"readings", run.readings},
                                 {"lost", run.lost},
                                 {"hard_violations", run.violations},
                                 {"hard_half_width_ns", run.mean_hard_half_width_ns},
                                 {"statistical_coverage", coverage},
                                 {"unbiased_coverage", unbiased},
                                 {"statistical_half_width_ns", run.mean_statistical_half_width_ns},
                                 {"rms_ns", run.rms_ns},
                                 {"faults", run.faults},
                                 {"suspicious", run.suspicious},
                                 {"steps", run.steps}};
    std::printf("%s\n", line.dump().c_str());
    return;
  }
  std::printf(
      "%-22s %9llu readings, %llu faults, %llu steps: %llu violations of the hard bound "
      "(+-%.0f ns); statistical bound +-%.0f ns, coverage %.4f%%, %.4f%% where the source "
      "is not biased; rms %.1f ns\n",
      std::string(to_string(noise)).c_str(), static_cast<unsigned long long>(run.readings),
      static_cast<unsigned long long>(run.faults), static_cast<unsigned long long>(run.steps),
      static_cast<unsigned long long>(run.violations), run.mean_hard_half_width_ns,
      run.mean_statistical_half_width_ns, 100.0 * coverage, 100.0 * unbiased, run.rms_ns);
  std::fflush(stdout);
}

}  // namespace

int replay_command(const ReplayCommandOptions& options, bool json) {
  const auto phase = read_phase_ns(options.series);
  if (!phase.ok()) {
    std::fprintf(stderr, "driftlock clock replay: %s\n", phase.error().message.c_str());
    return 2;
  }
  const std::vector<double>& x = phase.value();
  ReplayOptions replay_options = options.replay;
  replay_options.interval_s = options.series.interval_s;
  for (std::size_t k = 1; k < x.size(); ++k) {
    if (std::fabs(x[k] - x[k - 1]) > kFastest * replay_options.interval_s * 1e9) {
      std::fprintf(stderr,
                   "driftlock clock replay: %s: value %zu is off by more than %g s/s: is it in "
                   "another unit (--input, --scale)?\n",
                   options.series.file.c_str(), k + 1, kFastest);
      return 2;
    }
  }
  const ReplayResult result = replay(x, replay_options);
  json ? print_json(result) : print(result);
  return 0;
}

int simulate_command(const SimulateOptions& options, bool json) {
  bool any = false;
  std::uint64_t violations = 0;
  for (const char* name :
       {"white-phase", "white-frequency", "flicker-frequency", "random-walk-frequency", "drift"}) {
    if (options.noise != "all" && options.noise != name) continue;
    any = true;
    FaultRunOptions run = options.run;
    run.noise = *parse_oscillator_noise(name);
    const FaultRunResult result = run_with_faults(run);
    violations += result.violations;
    print_run(run.noise, result, json);
  }
  if (!any) {
    std::fprintf(stderr, "driftlock clock simulate: no such noise: %s\n", options.noise.c_str());
    return 2;
  }
  return violations == 0 ? 0 : 1;
}

}  // namespace driftlock::cli
