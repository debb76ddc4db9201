// GossipWorld: many nodes that gossip, in simulated time: the real Gossip and fuse(), over a
// network that delays, is asymmetric and loses, with clocks whose errors are correlated and some of
// which lie. Deterministic under its seed. Single-threaded.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <vector>

#include "src/cluster/gossip.hpp"

namespace driftlock::eval {

struct WorldOptions {
  std::size_t nodes = 10;
  std::size_t liars = 0;
  double correlation = 0.0;  // of the errors of any two honest clocks
  std::uint64_t seed = 1;
  double sigma_least_ns = 200.0;  // honest clocks' sigmas spread between these, by magnitude
  double sigma_most_ns = 5'000.0;
  double delay_us = 20.0;   // least one-way delay; each direction adds up to as much, for ever
  double jitter_us = 30.0;  // mean of what each datagram adds
  double loss = 0.01;
  double oscillator_ppm = 50.0;  // local rates spread by this to either side
  std::size_t fanout = 3;
  std::size_t exchanges = 1;
  std::size_t statements_max = 128;
  Nanoseconds interval_ns = 250 * kMillisecond;
};

class GossipWorld {
 public:
  explicit GossipWorld(const WorldOptions& options);

  // `look` is called for each node once in a round, just before its next one begins.
  using Look = std::function<void(std::size_t node)>;
  void run_rounds(std::size_t rounds, const Look& look);
  // From now on the node neither sends nor receives.
  void kill(std::size_t node) { nodes_[node].dead = true; }

  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] bool lies(std::size_t node) const { return node < options_.liars; }
  [[nodiscard]] const Gossip& gossip(std::size_t node) const { return *nodes_[node].gossip; }
  [[nodiscard]] static NodeId id_of(std::size_t node) { return node + 1; }
  // What the node has of all clocks now, and the truth of that instant.
  void sources(std::size_t node, std::vector<FusionSource>& out) const;
  [[nodiscard]] Nanoseconds truth() const { return now_ns_; }

 private:
  enum class Lie : std::uint8_t { kOffset, kTwoFaced, kDrift, kEdge, kEstimate };
  struct Node {
    std::unique_ptr<Gossip> gossip;
    double rate = 1.0;  // of local time against truth
    double sigma_ns = 1000.0;
    double early_ns = 0.0;
    double late_ns = 0.0;
    std::vector<float> noise;  // own share of the error, one value a round
    Lie lie = Lie::kOffset;
    double lie_ns = 0.0;
    bool dead = false;
  };
  struct Event {
    Nanoseconds at_ns = 0;
    std::uint64_t order = 0;
    std::uint32_t node = 0;
    bool round = false;  // else a datagram
    std::vector<std::uint8_t> bytes;
    bool operator>(const Event& other) const {
      return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
    }
  };

  void make_node(std::size_t index, const PeerList& peers);
  [[nodiscard]] double normal();
  [[nodiscard]] double wandering(const std::vector<float>& noise) const;
  [[nodiscard]] Nanoseconds local_of(const Node& node) const;
  [[nodiscard]] LocalNow now_of(std::size_t index, NodeId asker) const;
  void tell_lie(const Node& node, NodeId asker, double& error_ns, LocalNow& now) const;
  [[nodiscard]] Nanoseconds delay_of(std::size_t from, std::size_t to);
  [[nodiscard]] Gossip::Send sender(std::size_t from);
  void handle(Event& event, const Look& look);

  WorldOptions options_;
  SecretKey key_;
  Chance chance_;
  double side_ = 1.0;  // liars pull together
  std::vector<Node> nodes_;
  std::vector<float> common_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  Nanoseconds now_ns_;
  std::uint64_t order_ = 0;
};

}  // namespace driftlock::eval
