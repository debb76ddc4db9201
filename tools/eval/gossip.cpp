// driftlock-eval gossip: what gossip costs and how fast it converges, from ten nodes to ten
// thousand.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>

#include "tools/eval/commands.hpp"
#include "tools/eval/gossip_world.hpp"

namespace driftlock::eval {
namespace {

struct Options {
  std::vector<std::size_t> nodes{10, 30, 100, 300, 1000, 3000, 10000};
  std::size_t rounds = 24;
  std::size_t statements_max = 64;
  std::uint64_t seed = 1;
};

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return std::numeric_limits<double>::infinity();
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

// Every node's fused hard half width after a round; infinite where it has not heard enough.
double half_width_of_most(const GossipWorld& world, double q, std::size_t except) {
  std::vector<double> widths;
  std::vector<FusionSource> sources;
  for (std::size_t node = 0; node < world.size(); ++node) {
    if (node == except) continue;
    world.sources(node, sources);
    const Fused fused = fuse(sources, world.gossip(node).faulty_max());
    widths.push_back(fused.valid ? static_cast<double>(fused.hard.half_width())
                                 : std::numeric_limits<double>::infinity());
  }
  return quantile(std::move(widths), q);
}

std::uint64_t bytes_sent(const GossipWorld& world) {
  std::uint64_t bytes = 0;
  for (std::size_t node = 0; node < world.size(); ++node) {
    bytes += world.gossip(node).counters().sent_bytes;
  }
  return bytes;
}

double share_that_knows(const GossipWorld& world, std::size_t dead) {
  std::size_t know = 0;
  for (std::size_t node = 0; node < world.size(); ++node) {
    if (node == dead) continue;
    const auto state = world.gossip(node).membership().state(GossipWorld::id_of(dead));
    know += state != gossip::MemberState::kAlive ? 1 : 0;
  }
  return static_cast<double>(know) / static_cast<double>(world.size() - 1);
}

// Rounds until 95% of the nodes are within a fifth of where 95% of them are in the end.
std::size_t converged(const std::vector<double>& by_round) {
  for (std::size_t round = 0; round < by_round.size(); ++round) {
    if (by_round[round] <= 1.2 * by_round.back()) return round + 1;
  }
  return by_round.size();
}

void run_case(const Options& options, std::size_t nodes) {
  WorldOptions world_options;
  world_options.nodes = nodes;
  world_options.seed = options.seed;
  world_options.statements_max = options.statements_max;
  GossipWorld world(world_options);
  std::vector<double> by_round;
  for (std::size_t round = 0; round < options.rounds; ++round) {
    world.run_rounds(1, [](std::size_t) {});
    by_round.push_back(half_width_of_most(world, 0.95, nodes));
  }
  const std::uint64_t before = bytes_sent(world);
  constexpr std::size_t kCostRounds = 8;
  world.run_rounds(kCostRounds, [](std::size_t) {});
  const double seconds = static_cast<double>(kCostRounds * world_options.interval_ns) * 1e-9;
  const double rate =
      static_cast<double>(bytes_sent(world) - before) / static_cast<double>(nodes) / seconds;
  const std::size_t dead = nodes / 2;
  world.kill(dead);
  std::size_t first = 0;
  std::size_t all = 0;
  constexpr std::size_t kRumourRounds = 40;
  for (std::size_t round = 1; round <= kRumourRounds && all == 0; ++round) {
    world.run_rounds(1, [](std::size_t) {});
    const double know = share_that_knows(world, dead);
    if (first == 0 && know > 0.0) first = round;
    if (know >= 0.99) all = round;
  }
  std::printf(
      "nodes=%zu log2=%.1f bytes_per_node_and_second=%.0f rounds_to_converge=%zu half_us=%.2f "
      "death_suspected_after_rounds=%zu known_to_99%%_after_rounds=%zu\n",
      nodes, std::log2(static_cast<double>(nodes)), rate, converged(by_round),
      by_round.back() / 1e3, first, all);
  std::fflush(stdout);
}

}  // namespace

void add_gossip(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("gossip", "cost and convergence of gossip by cluster size");
  command->add_option("--nodes", options->nodes, "cluster sizes, separated by commas")
      ->delimiter(',')
      ->check(CLI::Range(2, 20'000))
      ->capture_default_str();
  command->add_option("--rounds", options->rounds, "until convergence is judged")
      ->check(CLI::Range(4, 240))
      ->capture_default_str();
  command->add_option("--statements", options->statements_max, "a node holds at most")
      ->check(CLI::Range(3, 1024))
      ->capture_default_str();
  command->add_option("--seed", options->seed)->capture_default_str();
  command->callback([options] {
    for (const std::size_t nodes : options->nodes) run_case(*options, nodes);
  });
}

}  // namespace driftlock::eval
