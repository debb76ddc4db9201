// Shard: the thread of one lcore, with the port and the fast path that it owns outright. The
// control threads see only what is here: start, stop, questions, counters. Built by the main
// thread.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/base/seqlock.hpp"
#include "src/clock/snapshot.hpp"
#include "src/lock/fast_path.hpp"
#include "src/node/options.hpp"
#include "src/predict/profile.hpp"
#include "src/predict/speculator.hpp"

namespace driftlock {

// The port's counters, for metrics.
struct PortFigures {
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
  std::uint64_t send_drops = 0;
  std::uint64_t receive_drops = 0;
  std::uint64_t no_buffer = 0;
  std::uint64_t stamps_out_of_range = 0;
  std::uint64_t neighbour_answers = 0;
  std::vector<std::pair<std::string, std::uint64_t>> refused;  // frames not served, by reason
};

// What a shard works with. All of it outlives the shard.
struct ShardParts {
  Engine& engine;
  const Seqlock<ClockSnapshot>& clock;
  ProfileTable* profiles;  // null: nobody is profiled
  FastPathCounters& counters;
  Speculator* speculator;  // null: nothing is learnt of locks
};

class Shard {
 public:
  virtual ~Shard() = default;

  [[nodiscard]] virtual Status start() = 0;
  // Returns when the thread has ended; the engine is the caller's then.
  virtual void stop() = 0;
  // Has the lcore work on the task between bursts, and returns when it is done. caller: any control
  // thread, while the shard runs; one waits for the other.
  virtual void ask(EngineTask& task) = 0;
  // The predictor's orders to the lcore, and what came of them; false where the ring is full, or
  // empty. caller: the predictor thread.
  [[nodiscard]] virtual bool order(const SessionOrder& order) = 0;
  [[nodiscard]] virtual bool next_outcome(OrderOutcome& outcome) = 0;
  // Now and then, by a control thread.
  virtual void calibrate() = 0;

  [[nodiscard]] virtual PortFigures figures() const = 0;
  [[nodiscard]] virtual std::string address() const = 0;  // "10.0.0.1:4780"
  [[nodiscard]] virtual const char* stamp_source() const = 0;
};

[[nodiscard]] Result<std::unique_ptr<Shard>> make_socket_shard(const Options::Port& options,
                                                               const ShardParts& parts);
// Starts DPDK in this process, too.
[[nodiscard]] Result<std::unique_ptr<Shard>> make_dpdk_shard(const Options::Port& options,
                                                             const ShardParts& parts);

}  // namespace driftlock
