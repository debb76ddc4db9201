// Node: a running driftlockd: its parts in the order in which they start, and end in reverse.
// Owned by the main thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hw/table_memory.hpp"
#include "src/lock/engine.hpp"
#include "src/node/admin.hpp"
#include "src/node/clock_thread.hpp"
#include "src/node/gossip_thread.hpp"
#include "src/node/horizon_thread.hpp"
#include "src/node/life.hpp"
#include "src/node/options.hpp"
#include "src/node/predictor_thread.hpp"
#include "src/node/shard.hpp"
#include "src/node/web_server.hpp"

namespace driftlock {

class Node {
 public:
  // Serves when it returns. An Error tells which option is to blame; nothing is left behind then.
  [[nodiscard]] static Result<std::unique_ptr<Node>> start(const Options& options);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // For scripts: "address=... metrics=... admin=...".
  [[nodiscard]] std::string ready_line() const;
  // Of the lcore's loop, for a watchdog.
  [[nodiscard]] std::uint64_t turns() const { return counters_.polls.read(); }

 private:
  explicit Node(const Options& options);
  [[nodiscard]] Status open_parts();
  [[nodiscard]] Status open_clock();
  void make_engine();
  void learn_contention(EngineOptions& engine);
  [[nodiscard]] Status open_shard();
  [[nodiscard]] Status open_gossip();
  [[nodiscard]] Status open_probe();
  [[nodiscard]] bool probe_steers() const;
  [[nodiscard]] Status open_doors();
  void record_end() const;
  [[nodiscard]] NodeView view() const;

  const Options options_;
  const std::string name_;
  const Nanoseconds started_unix_ns_;
  std::unique_ptr<Keyring> keyring_;
  std::unique_ptr<Life> life_;
  RehearsalSource* rehearsal_ = nullptr;  // the clock thread's
  std::unique_ptr<ClockThread> clock_;
  TableMemory memory_;
  std::unique_ptr<Engine> engine_;  // the shard's from its start to its stop
  std::unique_ptr<HorizonThread> horizon_;
  std::unique_ptr<ProfileTable> profiles_;
  std::unique_ptr<Speculator> speculator_;
  FastPathCounters counters_;
  std::unique_ptr<GossipThread> gossip_;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<PredictorThread> predictor_;
  std::unique_ptr<WebServer> web_;
  std::unique_ptr<Admin> admin_;
  bool serving_ = false;
};

}  // namespace driftlock
