// One run: the seed's world, its faults, and what must be true when they are over.
#include <memory>

#include "tools/check/linearizability.hpp"
#include "tools/sim/client.hpp"
#include "tools/sim/node.hpp"

namespace driftlock::sim {
namespace {

// After the last fault: leases of sessions that died, waits, and the time until a node that was
// restarted may grant again, all run out well within these.
constexpr Nanoseconds kRecoveryNs = 30 * kSecond;
constexpr Nanoseconds kQuietNs = 12 * kSecond;
constexpr Nanoseconds kClosingNs = 10 * kSecond;
constexpr std::uint64_t kConfigurationsMax = 200'000;  // of one lock's history
constexpr Nanoseconds kClockPublishedNs = 100 * kMillisecond;

bool of_network(FaultKind kind) {
  return kind <= FaultKind::kOneWay;
}

class World {
 public:
  explicit World(const SimOptions& options);
  Verdict run();

 private:
  void make_clients();
  [[nodiscard]] NodePlan node_plan();
  void plan_injections();
  void inject(const Fault& fault);
  void end(const Fault& fault);
  void publish_clock();
  void recover();
  void close_all();
  void check_empty(bool closed);
  void check_history();
  template <typename Check>
  void expect_all(const char* what, Nanoseconds within_ns, Check&& check);

  SimOptions options_;
  Random random_;
  Random fault_random_;
  SimTotals totals_;
  Events events_;
  std::uint32_t client_count_;
  Network network_;
  Monitor monitor_;
  Oracle oracle_;
  check::History history_;
  std::vector<Fault> faults_;
  std::unique_ptr<SimNode> node_;
  std::vector<std::unique_ptr<SimClient>> clients_;
  int suspects_ = 0;
  int holdovers_ = 0;
  int losts_ = 0;
};

std::vector<KeyPlan> choose_keys(Random& random, std::uint32_t count) {
  std::vector<KeyPlan> keys;
  for (std::uint32_t i = 0; i < count; ++i) {
    KeyPlan plan;
    if (i > 0 && random.chance(0.25))
      plan.permits = static_cast<std::uint16_t>(1 + random.below(3));
    plan.fence = random.chance(0.15);
    keys.push_back(plan);
  }
  return keys;
}

World::World(const SimOptions& options)
    : options_(options),
      random_(options.seed, 1),
      fault_random_(options.seed, 3),
      events_(options.trace),
      client_count_(options.clients != 0 ? options.clients
                                         : static_cast<std::uint32_t>(2 + random_.below(5))),
      network_(events_, Random(options.seed, 4), client_count_, totals_),
      monitor_(events_, totals_),
      oracle_(events_, choose_keys(random_, options.keys != 0 ? options.keys
                                                              : static_cast<std::uint32_t>(
                                                                    1 + random_.below(6)))),
      faults_(plan_faults(options, client_count_)) {
  node_ =
      std::make_unique<SimNode>(events_, network_, monitor_, node_plan(), Random(options.seed, 5));
  monitor_.on_take_over([this](const std::string& key, std::uint64_t newest) {
    oracle_.taken_over(key_number(key), newest);
  });
  make_clients();
  network_.connect([this](Packet packet) { node_->arrive(std::move(packet)); },
                   [this](Packet packet) {
                     SimClient& client = *clients_[packet.client];
                     client.receive(std::move(packet));
                   });
}

SecretKey client_key(std::uint64_t id) {
  return SecretKey{{id, 2, 3, 4}};
}

NodePlan World::node_plan() {
  NodePlan plan;
  plan.engine.sessions = {256, 8};
  plan.engine.locks.locks_max = 64;
  plan.engine.locks.claims_max = 128;
  plan.engine.locks.long_keys_max = 16;
  plan.engine.locks.hash_seed = random_.next();
  plan.engine.groups_max = 32;
  plan.engine.namespaces = {{.id = kFenceNamespace, .fence = true}};
  plan.engine.ticket_key = SecretKey{{random_.next(), random_.next(), 1, 2}};
  plan.engine.term_default_ns = kSecond;
  plan.engine.term_max_ns = 4 * kSecond;
  std::vector<ClientKey> keys;
  for (std::uint64_t i = 0; i < client_count_; ++i) keys.push_back({i + 1, "c", client_key(i + 1)});
  plan.keyring = Keyring(std::move(keys));
  plan.drift = NodeTime::kDriftMax * random_.both_ways();
  plan.half_width_ns = random_.spread(kMicrosecond, 50 * kMillisecond);
  plan.horizon_step_ns = random_.spread(3 * kSecond, 6 * kSecond);
  return plan;
}

void World::make_clients() {
  const Nanoseconds think_ns = random_.spread(10 * kMillisecond, 200 * kMillisecond);
  const Nanoseconds hold_ns = random_.spread(kMillisecond, 200 * kMillisecond);
  const double groups = random_.chance(0.5) ? 0.0 : 0.4 * random_.unit();
  const double converts = random_.chance(0.3) ? 0.0 : 0.6 * random_.unit();
  for (std::uint32_t i = 0; i < client_count_; ++i) {
    ClientPlan plan;
    plan.index = i;
    plan.session.client_id = i + 1;
    plan.session.client_key = client_key(i + 1);
    plan.session.slots = static_cast<std::uint8_t>(3 + random_.below(3));
    plan.session.term_ns = random_.spread(200 * kMillisecond, 3 * kSecond);
    constexpr std::array<double, 4> kDriftBounds{1e-4, 1e-3, 1e-2, 1e-1};
    plan.session.drift_bound = kDriftBounds[random_.below(4)];
    plan.synchronized = random_.chance(0.5);
    plan.half_width_ns = random_.spread(10 * kMicrosecond, 20 * kMillisecond);
    plan.think_ns = think_ns;
    plan.hold_ns = hold_ns;
    plan.tasks = static_cast<std::uint32_t>(1 + random_.below(3));
    plan.groups = groups;
    plan.converts = converts;
    if (random_.chance(0.3)) {
      plan.session.lock_delay_ms = static_cast<std::uint32_t>(random_.between(1, 1500));
    }
    clients_.push_back(std::make_unique<SimClient>(events_, network_, oracle_, history_, plan,
                                                   Random(options_.seed, 100 + i)));
  }
}

void World::plan_injections() {
  for (std::uint32_t i = 0; i < faults_.size(); ++i) {
    if (options_.kept) {
      const auto& kept = *options_.kept;
      if (std::find(kept.begin(), kept.end(), i) == kept.end()) continue;
    }
    const Fault& fault = faults_[i];
    events_.at(fault.from_ns, [this, &fault, i] {
      events_.trace("fault " + std::to_string(i) + " begins: " + to_string(fault.kind) +
                    " target " + std::to_string(fault.target) + " size " +
                    std::to_string(fault.size));
      if (!of_network(fault.kind)) ++totals_.injected[static_cast<std::size_t>(fault.kind)];
      inject(fault);
    });
    events_.at(fault.until_ns, [this, &fault, i] {
      events_.trace("fault " + std::to_string(i) + " ends: " + to_string(fault.kind));
      end(fault);
    });
  }
}

template <typename Each>
void each_target(std::vector<std::unique_ptr<SimClient>>& clients, const Fault& fault,
                 Each&& each) {
  for (std::size_t i = 0; i < clients.size(); ++i) {
    if (fault.target < 0 || static_cast<std::size_t>(fault.target) == i) each(*clients[i]);
  }
}

void World::inject(const Fault& fault) {
  const auto offset_ns = static_cast<Nanoseconds>(fault.size);
  switch (fault.kind) {
    case FaultKind::kNodeCrash:
      if (node_->up()) node_->crash();
      return;
    case FaultKind::kNodeFreeze:
      return node_->freeze(fault.until_ns);
    case FaultKind::kNodeSuspect:
      ++suspects_;
      node_->time().suspect_ns = offset_ns;
      return node_->time().publish();
    case FaultKind::kNodeHoldover:
      ++holdovers_;
      node_->time().holdover = true;
      return;
    case FaultKind::kNodeLost:
      ++losts_;
      node_->time().lost = true;
      return node_->time().publish();
    case FaultKind::kClientCrash:
      return each_target(clients_, fault, [](SimClient& client) { client.crash(); });
    case FaultKind::kClientPause:
      return each_target(clients_, fault, [&](SimClient& client) { client.pause(fault.until_ns); });
    case FaultKind::kClockOffset:
      return each_target(clients_, fault, [&](SimClient& client) { client.set_offset(offset_ns); });
    case FaultKind::kClockStep:
      return each_target(clients_, fault, [&](SimClient& client) { client.step(offset_ns); });
    case FaultKind::kClockDrift:
      return each_target(clients_, fault, [&](SimClient& client) { client.set_drift(fault.size); });
    case FaultKind::kClockWalk:
      return each_target(clients_, fault,
                         [&](SimClient& client) { client.walk(fault_random_, true); });
    default:
      return network_.begin(fault);
  }
}

void World::end(const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::kNodeCrash:
      if (!node_->up()) node_->start();
      return;
    case FaultKind::kNodeSuspect:
      if (--suspects_ == 0) node_->time().suspect_ns = 0;
      return;
    case FaultKind::kNodeHoldover:
      if (--holdovers_ == 0) node_->time().holdover = false;
      return node_->time().publish();
    case FaultKind::kNodeLost:
      if (--losts_ == 0) node_->time().lost = false;
      return node_->time().publish();
    case FaultKind::kClientCrash:
      return each_target(clients_, fault, [](SimClient& client) {
        if (client.down()) client.start();
      });
    case FaultKind::kClockDrift:
      return each_target(clients_, fault, [](SimClient& client) { client.set_drift(0.1); });
    case FaultKind::kClockWalk:
      return each_target(clients_, fault,
                         [&](SimClient& client) { client.walk(fault_random_, false); });
    default:
      if (of_network(fault.kind)) network_.end(fault);
      return;
  }
}

void World::publish_clock() {
  node_->publish_clock();
  events_.after(kClockPublishedNs, [this] { publish_clock(); });
}

// Runs until `check` holds of every client; a violation of "progress" if it does not in time.
template <typename Check>
void World::expect_all(const char* what, Nanoseconds within_ns, Check&& check) {
  const auto all = [&] {
    return std::all_of(clients_.begin(), clients_.end(),
                       [&](const auto& client) { return check(*client); });
  };
  if (events_.broken() || all()) return;
  if (events_.run_until(events_.now_ns() + within_ns, all) || events_.broken()) return;
  std::string states;
  for (const auto& client : clients_) states += " [" + client->describe() + "]";
  events_.violate("progress",
                  std::string(what) + " is not reached after all faults are over:" + states);
}

void World::check_empty(bool closed) {
  if (events_.broken()) return;
  const Engine& engine = *node_->engine();
  std::string left;
  if (engine.locks().locks_in_use() != 0) {
    left += " " + std::to_string(engine.locks().locks_in_use()) + " locks";
  }
  if (engine.locks().claims_in_use() != 0) {
    left += " " + std::to_string(engine.locks().claims_in_use()) + " claims";
  }
  if (closed && engine.sessions().active() != 0) {
    left += " " + std::to_string(engine.sessions().active()) + " sessions";
  }
  if (!left.empty()) {
    events_.violate("leak", "everything was given back, and the node still has" + left);
  }
}

void World::recover() {
  events_.trace("all faults are over");
  for (const auto& client : clients_) client->finish_work();
  expect_all("rest", kRecoveryNs, [](const SimClient& client) { return client.settled(); });
  events_.trace("one last operation each");
  for (const auto& client : clients_) client->probe();
  expect_all("a grant to each", kRecoveryNs,
             [](const SimClient& client) { return client.probed(); });
  expect_all("rest", kRecoveryNs, [](const SimClient& client) { return client.settled(); });
  if (!events_.broken()) events_.run_until(events_.now_ns() + kQuietNs);
  check_empty(false);
}

void World::close_all() {
  if (events_.broken()) return;
  for (const auto& client : clients_) client->close();
  expect_all("closed sessions", kClosingNs,
             [](const SimClient& client) { return client.closed(); });
  if (!events_.broken()) events_.run_until(events_.now_ns() + kClosingNs);
  check_empty(true);
}

// What the clients were told, for itself: an order in which a lock would have answered so.
void World::check_history() {
  for (const auto& client : clients_) client->forget();
  if (events_.broken()) return;
  const check::Findings findings = check::check_history(history_, kConfigurationsMax);
  totals_.histories += findings.keys;
  if (findings.judgement == check::Judgement::kViolated) {
    events_.violate("linearizability", findings.why);
  } else if (findings.judgement == check::Judgement::kUndecided) {
    ++totals_.undecided;
  }
}

Verdict World::run() {
  node_->start();
  publish_clock();
  plan_injections();
  for (const auto& client : clients_) {
    SimClient* starts = client.get();
    events_.at(random_.between(0, 50 * kMillisecond), [starts] {
      if (starts->down()) starts->start();
    });
  }
  events_.run_until(options_.duration_ns);
  recover();
  close_all();
  check_history();
  Verdict verdict;
  verdict.ok = !events_.broken();
  verdict.check = events_.check();
  verdict.message = events_.message();
  verdict.at_ns = events_.now_ns();
  verdict.faults_planned = static_cast<std::uint32_t>(faults_.size());
  for (const auto& client : clients_) totals_.sessions_lost += client->sessions_lost();
  totals_.simulated_ns = events_.now_ns();
  verdict.totals = totals_;
  if (!options_.history.empty() && !history_.write(options_.history)) {
    verdict.ok = false;
    verdict.check = "history";
    verdict.message = "cannot write " + options_.history;
  }
  return verdict;
}

}  // namespace

Verdict run_seed(const SimOptions& options) {
  return World(options).run();
}

}  // namespace driftlock::sim
