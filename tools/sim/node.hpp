// SimNode: the node as its daemon wires it: the Engine and the FastPath, over a simulated port and
// clock, with a state file that outlives it (epoch and lease horizon). A crash forgets everything
// else. One thread.
#pragma once

#include <deque>
#include <memory>
#include <memory_resource>
#include <vector>

#include "src/lock/engine.hpp"
#include "src/lock/fast_path.hpp"
#include "tools/sim/clocks.hpp"
#include "tools/sim/monitor.hpp"
#include "tools/sim/network.hpp"

namespace driftlock::sim {

// The node's end of the network: what has arrived, and a pool of buffers.
class SimPort {
 public:
  struct Buffer {
    std::array<std::uint8_t, wire::kDatagramBytesMax> bytes{};
    std::vector<std::uint8_t> request;  // as it arrived
    std::uint32_t client = 0;
    bool tampered = false;
  };
  struct Arrival {
    Packet packet;
    std::uint64_t ticks = 0;
  };

  std::size_t receive(std::span<Datagram> out);
  bool allocate(Datagram& out);
  void send(std::span<Datagram> datagrams);
  void release(Datagram& datagram);

  // The rest is the simulator's.
  void arrive(Packet packet, std::uint64_t ticks);
  void forget() { arrivals_.clear(); }
  [[nodiscard]] bool waiting() const { return !arrivals_.empty(); }

  struct Sent {
    Packet packet;
    std::vector<std::uint8_t> request;
    bool request_tampered = false;
  };
  std::vector<Sent> sent;

 private:
  static constexpr std::size_t kQueueMax = 512;
  std::deque<Arrival> arrivals_;
  std::vector<std::unique_ptr<Buffer>> free_;
};

struct NodePlan {
  EngineOptions engine;
  Keyring keyring{{}};
  double drift = 0;
  Nanoseconds half_width_ns = kMicrosecond;
  Nanoseconds horizon_step_ns = 3 * kSecond;
  Nanoseconds poll_ns = 2 * kMillisecond;
};

class SimNode {
 public:
  using Fast = FastPath<SimPort, NodeTime, NoObserver>;
  SimNode(Events& events, Network& network, Monitor& monitor, const NodePlan& plan, Random random);
  ~SimNode();

  void start();
  void crash();
  void arrive(Packet packet);
  void publish_clock();
  void freeze(Nanoseconds until_ns);
  [[nodiscard]] bool up() const { return engine_ != nullptr; }
  [[nodiscard]] const Engine* engine() const { return engine_.get(); }
  [[nodiscard]] NodeTime& time() { return time_; }
  [[nodiscard]] std::uint32_t epoch() const { return epoch_; }

 private:
  void turn();
  void look_at_horizon();
  void plan_turn(Nanoseconds when_ns);
  void flush();

  Events& events_;
  Network& network_;
  Monitor& monitor_;
  NodePlan plan_;
  Random random_;
  NodeTime time_;
  SimPort port_;
  NoObserver observer_;
  std::unique_ptr<FastPathCounters> counters_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Fast> fast_path_;

  std::uint32_t epoch_ = 0;                // on disk
  Nanoseconds horizon_tai_ns_ = kLongAgo;  // on disk
  bool writing_ = false;
  bool held_back_ = false;  // stopped before sending
  std::uint64_t life_ = 0;
  Nanoseconds next_turn_ns_ = kNever;
  Nanoseconds frozen_until_ns_ = kLongAgo;
  Nanoseconds ready_after_tai_ns_ = kLongAgo;
  Nanoseconds old_leases_end_ns_ = kLongAgo;
};

}  // namespace driftlock::sim
