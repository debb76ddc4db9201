#include "tools/eval/gossip_world.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace driftlock::eval {
namespace {

constexpr Nanoseconds kStart = 1'800'000'000 * kSecond;
constexpr std::size_t kNoiseRounds = 256;
constexpr double kNoiseKept = 0.9;  // from round to round
constexpr double kErrorSigmasMax = 5.5;
constexpr double kHardSigmas = 6.0;

}  // namespace

GossipWorld::GossipWorld(const WorldOptions& options)
    : options_(options), chance_(options.seed), now_ns_(kStart) {
  key_.words = {options.seed, 1, 2, 3};
  side_ = chance_.unit() < 0.5 ? -1.0 : 1.0;
  std::vector<Peer> peers;
  for (std::size_t i = 0; i < options.nodes; ++i) peers.push_back({id_of(i), 0, 1});
  const auto fill = [&](std::vector<float>& noise) {
    double value = normal();
    for (std::size_t i = 0; i < kNoiseRounds; ++i) {
      noise.push_back(static_cast<float>(value));
      value = kNoiseKept * value + std::sqrt(1.0 - kNoiseKept * kNoiseKept) * normal();
    }
  };
  fill(common_);
  const PeerList list(std::move(peers));
  nodes_.resize(options.nodes);
  for (std::size_t i = 0; i < options.nodes; ++i) {
    fill(nodes_[i].noise);
    make_node(i, list);
  }
}

double GossipWorld::normal() {
  return std::sqrt(-2.0 * std::log(1.0 - chance_.unit())) *
         std::cos(2.0 * std::numbers::pi * chance_.unit());
}

void GossipWorld::make_node(std::size_t index, const PeerList& peers) {
  Node& node = nodes_[index];
  node.rate = 1.0 + (2.0 * chance_.unit() - 1.0) * options_.oscillator_ppm * 1e-6;
  node.sigma_ns = options_.sigma_least_ns *
                  std::pow(options_.sigma_most_ns / options_.sigma_least_ns, chance_.unit());
  node.early_ns = node.sigma_ns * (kHardSigmas + 4.0 * chance_.unit());
  node.late_ns = node.sigma_ns * (kHardSigmas + 4.0 * chance_.unit());
  node.lie = static_cast<Lie>(chance_.below(5));
  node.lie_ns = side_ * 1e3 * std::pow(1e4, chance_.unit());  // 1 us to 10 ms
  GossipOptions gossip;
  gossip.self = id_of(index);
  gossip.epoch = 1;
  gossip.key = key_;
  gossip.interval_ns = options_.interval_ns;
  gossip.fanout = options_.fanout;
  gossip.exchanges = options_.exchanges;
  gossip.statements_max = options_.statements_max;
  gossip.links_max = std::min<std::size_t>(options_.statements_max, 64);
  gossip.seed = chance_.next();
  node.gossip = std::make_unique<Gossip>(gossip, peers);
  const auto phase =
      static_cast<Nanoseconds>(chance_.unit() * static_cast<double>(options_.interval_ns));
  events_.push({now_ns_ + phase, ++order_, static_cast<std::uint32_t>(index), true, {}});
}

double GossipWorld::wandering(const std::vector<float>& noise) const {
  const double at =
      static_cast<double>(now_ns_ - kStart) / static_cast<double>(options_.interval_ns);
  const auto index = static_cast<std::size_t>(at);
  const double part = at - std::floor(at);
  const double a = noise[index % noise.size()];
  const double b = noise[(index + 1) % noise.size()];
  // The weights keep the variance of a point between two what theirs is, nearly.
  return a * (1.0 - part) + b * part;
}

Nanoseconds GossipWorld::local_of(const Node& node) const {
  return kSecond + std::llround(static_cast<double>(now_ns_ - kStart) * node.rate);
}

LocalNow GossipWorld::now_of(std::size_t index, NodeId asker) const {
  const Node& node = nodes_[index];
  const double sum = std::sqrt(options_.correlation) * wandering(common_) +
                     std::sqrt(1.0 - options_.correlation) * wandering(node.noise);
  double error_ns = node.sigma_ns * std::clamp(sum, -kErrorSigmasMax, kErrorSigmasMax);
  LocalNow now;
  now.local_ns = local_of(node);
  const double slack = options_.oscillator_ppm * 1e-6;
  now.rate = {1.0 / node.rate - slack, 1.0 / node.rate + slack};
  now.rate_ppb = (1.0 / node.rate - 1.0) * 1e9;
  now.clock.state = ClockState::kSync;
  now.clock.sigma_ns = std::llround(node.sigma_ns);
  now.clock.tai = {-std::llround(node.early_ns), std::llround(node.late_ns)};
  if (lies(index)) tell_lie(node, asker, error_ns, now);
  const Nanoseconds estimate = now_ns_ + std::llround(error_ns);
  now.clock.estimate_ns = estimate;
  now.clock.tai.earliest += estimate;
  now.clock.tai.latest += estimate;
  return now;
}

// In `tai` stand the distances from the estimate.
void GossipWorld::tell_lie(const Node& node, NodeId asker, double& error_ns, LocalNow& now) const {
  const double elapsed_s = static_cast<double>(now_ns_ - kStart) * 1e-9;
  switch (node.lie) {
    case Lie::kOffset:  // a false bound
      error_ns += node.lie_ns;
      break;
    case Lie::kTwoFaced:  // says one thing to some and another to others
      error_ns += asker % 2 == 0 ? node.lie_ns : -node.lie_ns;
      break;
    case Lie::kDrift:  // 1 to 100 ppm
      error_ns += elapsed_s * node.lie_ns / 100.0;
      break;
    case Lie::kEdge:  // as far as honest bounds allow, and very sure of it
      error_ns = side_ * 4.0 * options_.sigma_least_ns;
      now.clock.sigma_ns = 1;
      now.clock.tai = {-100, 100};
      break;
    case Lie::kEstimate:  // the bound is true, the estimate and its sigma are not
      error_ns = side_ * node.sigma_ns * 5.0;
      now.clock.sigma_ns /= 50;
      break;
  }
}

// A path has an asymmetry of its own for ever, and each datagram its share of queues.
Nanoseconds GossipWorld::delay_of(std::size_t from, std::size_t to) {
  Chance path((static_cast<std::uint64_t>(from) << 32 | to) ^ options_.seed);
  const double least = options_.delay_us * (1.0 + path.unit());
  return std::llround(1e3 * (least - options_.jitter_us * std::log(1.0 - chance_.unit())));
}

Gossip::Send GossipWorld::sender(std::size_t from) {
  return [this, from](Outgoing& out) {
    if (nodes_[from].dead || chance_.unit() < options_.loss) return;
    const auto to = static_cast<std::size_t>(out.to.id - 1);
    // A few microseconds between making and sending.
    const auto held = static_cast<Nanoseconds>(5'000.0 * chance_.unit());
    const std::span<const std::uint8_t> bytes = out.finish(
        key_, out.made_local_ns + std::llround(static_cast<double>(held) * nodes_[from].rate));
    events_.push({now_ns_ + held + delay_of(from, to), ++order_, static_cast<std::uint32_t>(to),
                  false, std::vector<std::uint8_t>(bytes.begin(), bytes.end())});
  };
}

void GossipWorld::handle(Event& event, const Look& look) {
  Node& node = nodes_[event.node];
  if (event.round) {
    if (node.gossip->counters().rounds > 0 && !node.dead) look(event.node);
    if (!node.dead) node.gossip->step(now_of(event.node, kNobody), sender(event.node));
    // Its next round, or an answer that did not come, whichever is first.
    const Nanoseconds wait = std::clamp<Nanoseconds>(node.gossip->due_local_ns() - local_of(node),
                                                     kMillisecond, options_.interval_ns);
    events_.push({now_ns_ + wait, ++order_, event.node, true, {}});
    return;
  }
  if (node.dead) return;
  const auto asker = wire::load<wire::Header>(event.bytes.data()).session_id;
  const LocalNow now = now_of(event.node, asker);
  node.gossip->receive(event.bytes, now.local_ns, now, sender(event.node));
}

void GossipWorld::run_rounds(std::size_t rounds, const Look& look) {
  const Nanoseconds end = now_ns_ + static_cast<Nanoseconds>(rounds) * options_.interval_ns;
  while (!events_.empty() && events_.top().at_ns <= end) {
    Event event = events_.top();
    events_.pop();
    now_ns_ = event.at_ns;
    handle(event, look);
  }
  now_ns_ = end;
}

void GossipWorld::sources(std::size_t node, std::vector<FusionSource>& out) const {
  nodes_[node].gossip->sources(now_of(node, id_of(node)), out);
}

}  // namespace driftlock::eval
