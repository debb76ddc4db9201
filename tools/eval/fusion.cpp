// driftlock-eval fusion: what a cluster's clocks say together, against the truth and against
// weights by inverse variance, over gossip with lying and correlated clocks.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "tools/eval/commands.hpp"
#include "tools/eval/gossip_world.hpp"

namespace driftlock::eval {
namespace {

struct Options {
  std::vector<std::size_t> nodes{3, 4, 5, 7, 10, 30, 100};
  std::vector<double> liars{0.0, 1.0 / 3.0};
  std::vector<double> correlations{0.0, 0.3, 0.6, 0.9};
  std::uint64_t seeds = 20;
  std::uint64_t first_seed = 1;
  std::size_t rounds = 24;
  std::vector<double> sigma_us{0.5, 5.0};
  double delay_us = 2.0;
  double jitter_us = 1.0;
  double oscillator_ppm = 50.0;
};

struct Method {
  std::uint64_t missed = 0;  // truth outside what it states at k sigma
  double half_sum_ns = 0.0;
  void judge(const Interval& stated, Nanoseconds truth) {
    missed += stated.contains(truth) ? 0 : 1;
    half_sum_ns += static_cast<double>(stated.half_width());
  }
};

struct Tally {
  std::uint64_t looks = 0;
  std::uint64_t hard_missed = 0;
  std::uint64_t invalid = 0;  // before enough is known
  std::uint64_t honest_rejected = 0;
  std::uint64_t honest_seen = 0;
  std::uint64_t liars_rejected = 0;
  std::uint64_t liars_seen = 0;
  double hard_half_sum_ns = 0.0;
  double own_half_sum_ns = 0.0;
  Method fused;
  Method naive;           // inverse variance, all sources
  Method naive_filtered;  // inverse variance, those that passed the intersection
  Method averaged;        // means of the bounds instead of their intersection
};

// The textbook mean, which takes errors for independent.
Interval inverse_variance(const std::vector<FusionSource>& sources, const Fused* filter) {
  double weights = 0.0;
  double sum = 0.0;
  const Nanoseconds base = sources.front().estimate_ns;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (filter != nullptr && filter->verdicts[i] != SourceVerdict::kUsed) continue;
    if (sources[i].hard.latest == kNever) continue;
    const double weight = 1.0 / std::max(1.0, sources[i].sigma_ns * sources[i].sigma_ns);
    weights += weight;
    sum += weight * static_cast<double>(sources[i].estimate_ns - base);
  }
  if (weights == 0.0) return {};
  return Interval::around(base + std::llround(sum / weights),
                          static_cast<Nanoseconds>(kFusionSigmas / std::sqrt(weights)) + 1);
}

Interval mean_of_bounds(const std::vector<FusionSource>& sources) {
  double early = 0.0;
  double late = 0.0;
  const Nanoseconds base = sources.front().estimate_ns;
  const auto count = static_cast<double>(sources.size());
  for (const FusionSource& source : sources) {
    early += static_cast<double>(source.hard.earliest - base) / count;
    late += static_cast<double>(source.hard.latest - base) / count;
  }
  return {base + std::llround(early), base + std::llround(late)};
}

void judge(const GossipWorld& world, std::size_t node, Tally& tally) {
  std::vector<FusionSource> sources;
  world.sources(node, sources);
  const Fused fused = fuse(sources, world.gossip(node).faulty_max());
  const Nanoseconds truth = world.truth();
  if (!fused.valid) {
    ++tally.invalid;
    return;
  }
  ++tally.looks;
  tally.hard_missed += fused.hard.contains(truth) ? 0 : 1;
  tally.hard_half_sum_ns += static_cast<double>(fused.hard.half_width());
  tally.own_half_sum_ns += static_cast<double>(sources.front().hard.half_width());
  tally.fused.judge(fused.statistical, truth);
  tally.naive.judge(inverse_variance(sources, nullptr), truth);
  tally.naive_filtered.judge(inverse_variance(sources, &fused), truth);
  tally.averaged.judge(mean_of_bounds(sources), truth);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const bool out = fused.verdicts[i] != SourceVerdict::kUsed;
    if (world.lies(static_cast<std::size_t>(sources[i].id - 1))) {
      ++tally.liars_seen;
      tally.liars_rejected += out ? 1 : 0;
    } else {
      ++tally.honest_seen;
      tally.honest_rejected += out ? 1 : 0;
    }
  }
}

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

void print(std::size_t nodes, std::size_t liars, double correlation, const Tally& tally) {
  const auto looks = static_cast<double>(std::max<std::uint64_t>(tally.looks, 1));
  const auto us = [&](double sum_ns) { return sum_ns / looks / 1e3; };
  std::printf(
      "nodes=%zu liars=%zu correlation=%.2f looks=%llu hard_violations=%llu hard_half_us=%.2f "
      "own_half_us=%.2f coverage=%.6f half_us=%.2f inverse_variance_coverage=%.6f half_us=%.2f "
      "inverse_variance_of_survivors_coverage=%.6f half_us=%.2f mean_of_bounds_coverage=%.6f "
      "liars_rejected=%.3f honest_rejected=%.6f not_yet=%llu\n",
      nodes, liars, correlation, static_cast<unsigned long long>(tally.looks),
      static_cast<unsigned long long>(tally.hard_missed), us(tally.hard_half_sum_ns),
      us(tally.own_half_sum_ns), 1.0 - share(tally.fused.missed, tally.looks),
      us(tally.fused.half_sum_ns), 1.0 - share(tally.naive.missed, tally.looks),
      us(tally.naive.half_sum_ns), 1.0 - share(tally.naive_filtered.missed, tally.looks),
      us(tally.naive_filtered.half_sum_ns), 1.0 - share(tally.averaged.missed, tally.looks),
      share(tally.liars_rejected, tally.liars_seen),
      share(tally.honest_rejected, tally.honest_seen),
      static_cast<unsigned long long>(tally.invalid));
  std::fflush(stdout);
}

void add(const Tally& one, Tally& sum) {
  sum.looks += one.looks;
  sum.hard_missed += one.hard_missed;
  sum.fused.missed += one.fused.missed;
  sum.naive.missed += one.naive.missed;
  sum.naive_filtered.missed += one.naive_filtered.missed;
  sum.averaged.missed += one.averaged.missed;
}

Tally run_case(const Options& options, std::size_t nodes, std::size_t liars, double correlation) {
  Tally tally;
  for (std::uint64_t seed = options.first_seed; seed < options.first_seed + options.seeds; ++seed) {
    WorldOptions world_options;
    world_options.nodes = nodes;
    world_options.liars = liars;
    world_options.correlation = correlation;
    world_options.seed = seed;
    world_options.sigma_least_ns = options.sigma_us.front() * 1e3;
    world_options.sigma_most_ns = options.sigma_us.back() * 1e3;
    world_options.delay_us = options.delay_us;
    world_options.jitter_us = options.jitter_us;
    world_options.oscillator_ppm = options.oscillator_ppm;
    GossipWorld world(world_options);
    world.run_rounds(options.rounds, [&](std::size_t node) { judge(world, node, tally); });
  }
  return tally;
}

void run(const Options& options) {
  Tally all;
  for (const std::size_t nodes : options.nodes) {
    for (const double part : options.liars) {
      // A third of 9 is 3, not 2.999.
      const auto liars = static_cast<std::size_t>(static_cast<double>(nodes) * part + 1e-6);
      for (const double correlation : options.correlations) {
        const Tally tally = run_case(options, nodes, liars, correlation);
        print(nodes, liars, correlation, tally);
        add(tally, all);
      }
    }
  }
  std::printf(
      "all: looks=%llu hard_violations=%llu coverage=%.6f inverse_variance_coverage=%.6f "
      "inverse_variance_of_survivors_coverage=%.6f mean_of_bounds_coverage=%.6f\n",
      static_cast<unsigned long long>(all.looks), static_cast<unsigned long long>(all.hard_missed),
      1.0 - share(all.fused.missed, all.looks), 1.0 - share(all.naive.missed, all.looks),
      1.0 - share(all.naive_filtered.missed, all.looks),
      1.0 - share(all.averaged.missed, all.looks));
  if (all.hard_missed != 0) throw CLI::RuntimeError(1);
}

}  // namespace

void add_fusion(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand(
      "fusion", "fused bound and estimate of gossiping clocks, some lying; exits 1 on a violation");
  command->add_option("--nodes", options->nodes, "cluster sizes, separated by commas")
      ->delimiter(',')
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--liars", options->liars, "shares of the nodes that lie, 0 to 1/3")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 0.334))
      ->capture_default_str();
  command->add_option("--correlation", options->correlations, "of any two honest clocks' errors")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seeds", options->seeds, "how many")->capture_default_str();
  command->add_option("--first-seed", options->first_seed)->capture_default_str();
  command->add_option("--rounds", options->rounds, "of gossip")->capture_default_str();
  command->add_option("--sigma-us", options->sigma_us, "honest clocks' least and greatest")
      ->delimiter(',')
      ->check(CLI::Range(0.001, 1e5))
      ->expected(2)
      ->capture_default_str();
  command->add_option("--delay-us", options->delay_us, "least one-way delay, asymmetric up to this")
      ->check(CLI::Range(0.0, 1e5))
      ->capture_default_str();
  command->add_option("--jitter-us", options->jitter_us, "mean of what queues add to it")
      ->check(CLI::Range(0.0, 1e5))
      ->capture_default_str();
  command->add_option("--oscillator-ppm", options->oscillator_ppm, "rates of local time, at most")
      ->check(CLI::Range(0.0, 500.0))
      ->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace driftlock::eval
