// A client's SessionCore and a real node (Engine, FastPath) with a scripted network between them:
// one thread, virtual time, and faults drawn from a seed.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "src/client/session_core.hpp"
#include "tests/unit/fake_node.hpp"

namespace driftlock::test {

inline constexpr std::uint64_t kClientId = 7;
inline constexpr std::uint16_t kFenceNamespace = 9;
inline const SecretKey kClientKey{{11, 22, 33, 44}};

struct Faults {
  double loss = 0;
  double duplication = 0;
  Nanoseconds delay_ns = 100 * kMicrosecond;
  Nanoseconds delay_spread_ns = 0;  // more than the gap between datagrams reorders them
};

class ClientWorld {
 public:
  explicit ClientWorld(std::uint64_t seed = 1) : random_(seed) { start_node(1); }

  // A node that restarts takes tickets until the leases of its life before are over.
  void start_node(std::uint32_t epoch, Nanoseconds ready_after_tai_ns = kLongAgo) {
    EngineOptions options;
    options.sessions = {16, 8};
    options.locks.locks_max = 64;
    options.locks.claims_max = 64;
    options.epoch = epoch;
    options.namespaces = {{kFenceNamespace, true, 0, 0}};
    options.ticket_key = SecretKey{{8, 8, 8, 8}};
    options.ready_after_tai_ns = ready_after_tai_ns;
    options.node_secret = SecretKey{{5, 6, 7, epoch}};
    fast_path_.reset();
    engine_ = std::make_unique<Engine>(options, keyring_, std::pmr::new_delete_resource());
    fast_path_ = std::make_unique<FastPath<QueuePort, SetClock, NoObserver>>(
        port_, clock_, *engine_, observer_, fast_path_counters_);
  }

  client::SessionCore& add_client(client::SessionOptions options = {}) {
    options.client_id = kClientId;
    options.client_key = kClientKey;
    clients_.push_back(std::make_unique<client::SessionCore>(
        options, SecretKey{{random_(), random_(), random_(), random_()}}));
    asleep_until_.push_back(kLongAgo);
    return *clients_.back();
  }

  [[nodiscard]] client::LocalTime now() const {
    client::LocalTime time;
    time.local_ns = now_ns_;
    time.tai_ns = kStart + now_ns_ + client_offset_ns;
    if (client_error_ns) {
      time.tai = Interval::around(time.tai_ns, *client_error_ns);
      time.state = ClockState::kSync;
    }
    return time;
  }

  // Runs the world until `done` or for `duration`.
  bool run(
      Nanoseconds duration_ns, const std::function<bool()>& done = [] { return false; }) {
    const Nanoseconds end = now_ns_ + duration_ns;
    while (now_ns_ < end) {
      turn();
      if (done()) return true;
      Nanoseconds next = now_ns_ + kMillisecond;  // the node polls
      for (const InTransit& each : transit_) next = std::min(next, each.arrives_ns);
      now_ns_ = std::max(next, now_ns_ + 1);
    }
    return false;
  }

  // A client's program is stopped (SIGSTOP): it neither sends nor receives.
  void stop(std::size_t index, Nanoseconds duration_ns) {
    asleep_until_[index] = now_ns_ + duration_ns;
  }

  Faults faults;
  bool node_up = true;
  Nanoseconds client_offset_ns = 0;
  std::optional<Nanoseconds> client_error_ns;  // half width where the client is synchronized
  // A look at every datagram on the wire; false drops it.
  std::function<bool(bool to_node, std::vector<std::uint8_t>&)> script;

  Engine& engine() { return *engine_; }
  SetClock& node_clock() { return clock_; }
  FastPathCounters& node_counters() { return fast_path_counters_; }
  static constexpr Nanoseconds kStart = 1'700'000'000'000'000'000;

 private:
  struct InTransit {
    Nanoseconds arrives_ns;
    std::size_t client;
    bool to_node;
    std::vector<std::uint8_t> bytes;
  };

  void put(std::size_t client, bool to_node, std::vector<std::uint8_t> bytes) {
    if (script && !script(to_node, bytes)) return;
    std::uniform_real_distribution<double> unit(0, 1);
    const int copies = unit(random_) < faults.duplication ? 2 : 1;
    for (int copy = 0; copy < copies; ++copy) {
      if (unit(random_) < faults.loss) continue;
      const auto extra =
          static_cast<Nanoseconds>(unit(random_) * static_cast<double>(faults.delay_spread_ns));
      transit_.push_back({now_ns_ + faults.delay_ns + extra, client, to_node, bytes});
    }
  }

  void turn() {
    std::vector<InTransit> arrived;
    for (std::size_t i = 0; i < transit_.size();) {
      if (transit_[i].arrives_ns > now_ns_) {
        ++i;
        continue;
      }
      arrived.push_back(std::move(transit_[i]));
      transit_.erase(transit_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (InTransit& each : arrived) {
      if (each.to_node) {
        Endpoint peer{0x0A000001, static_cast<std::uint16_t>(1000 + each.client), {}};
        if (node_up) port_.arriving.push_back({peer, std::move(each.bytes)});
      } else if (asleep_until_[each.client] <= now_ns_) {
        clients_[each.client]->receive(each.bytes, now());
      }
    }
    turn_node();
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      if (asleep_until_[i] > now_ns_) continue;
      std::array<std::uint8_t, wire::kDatagramBytesMax> out;
      while (const std::size_t bytes = clients_[i]->next_datagram(now(), out)) {
        put(i, true, {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(bytes)});
      }
    }
  }

  void turn_node() {
    clock_.now_ticks = static_cast<std::uint64_t>(kStart + now_ns_);
    port_.now_ticks = clock_.now_ticks;
    if (!node_up) return;
    fast_path_->poll();
    while (!port_.sent.empty()) {
      const auto client = static_cast<std::size_t>(port_.sent.front().peer.udp_port - 1000);
      put(client, false, std::move(port_.sent.front().bytes));
      port_.sent.pop_front();
    }
  }

  std::mt19937_64 random_;
  Nanoseconds now_ns_ = 0;
  Keyring keyring_{{{kClientId, "test", kClientKey}}};
  SetClock clock_;
  QueuePort port_;
  NoObserver observer_;
  FastPathCounters fast_path_counters_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<FastPath<QueuePort, SetClock, NoObserver>> fast_path_;
  std::vector<std::unique_ptr<client::SessionCore>> clients_;
  std::vector<Nanoseconds> asleep_until_;
  std::vector<InTransit> transit_;
};

}  // namespace driftlock::test
