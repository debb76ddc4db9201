// NodeView: what the control threads (metrics, admin) may look at of a running node. All of it
// outlives them.
#pragma once

#include <cstdint>
#include <string>

#include "src/lock/fast_path.hpp"
#include "src/node/clock_thread.hpp"
#include "src/node/gossip_thread.hpp"
#include "src/node/options.hpp"
#include "src/node/predictor_thread.hpp"
#include "src/node/rehearsal_source.hpp"
#include "src/node/shard.hpp"

namespace driftlock {

struct NodeView {
  const Options& options;
  std::string name;
  std::uint32_t epoch = 0;
  Nanoseconds started_unix_ns = 0;
  const FastPathCounters& counters;
  const Engine::Gauges& gauges;
  const ClockThread& clock;
  PredictorThread& predictor;              // its mode can be set
  const Speculator* speculator = nullptr;  // null: nothing is learnt of locks
  Shard& shard;
  RehearsalSource* rehearsal = nullptr;  // null: the clock is a real one
  const GossipThread* gossip = nullptr;  // null: the node keeps to itself
};

[[nodiscard]] const char* version();
// CLOCK_REALTIME, for people and Prometheus.
[[nodiscard]] Nanoseconds unix_now_ns();

}  // namespace driftlock
