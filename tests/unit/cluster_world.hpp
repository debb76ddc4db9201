// A few Members with a coordinator and a network between them: one thread, virtual time, faults
// drawn from a seed. What the cluster promises is looked at after every step.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "src/cluster/member.hpp"

namespace driftlock::test {

using namespace driftlock::cluster;

// Linearizable by being one place. Requests are applied late, answers come late or never.
class MemoryStore {
 public:
  CoordinatorAnswer apply(const CoordinatorRequest& request) {
    CoordinatorAnswer answer;
    answer.id = request.id;
    answer.reached = answer.succeeded = true;
    for (const auto& expected : request.expected) {
      const auto found = keys_.find(expected.key);
      const std::int64_t there = found == keys_.end() ? 0 : found->second.mod_revision;
      if (there != expected.mod_revision) answer.succeeded = false;
    }
    if (answer.succeeded && (!request.puts.empty() || !request.deletes.empty())) ++revision_;
    if (answer.succeeded) {
      for (const KeyValue& put : request.puts) keys_[put.key] = {put.key, put.value, revision_};
      for (const std::string& key : request.deletes) keys_.erase(key);
    }
    answer.revision = revision_;
    answer.read_names = answer.succeeded ? request.then : request.otherwise;
    for (const std::string& name : answer.read_names) {
      for (const auto& [key, pair] : keys_) {
        if (key == name || (name.back() == '/' && key.rfind(name, 0) == 0)) {
          answer.read.push_back(pair);
        }
      }
    }
    return answer;
  }

 private:
  std::map<std::string, KeyValue> keys_;
  std::int64_t revision_ = 1;
};

class ClusterWorld {
 public:
  struct Node {
    std::unique_ptr<Member> member;
    NodeRecord record;
    bool running = true;  // false: stopped or dead
    bool reaches_store = true;
    bool reaches_peers = true;
    Nanoseconds clock_error_ns = 0;  // within half_width
    std::uint32_t incarnation = 0;
  };
  struct SlotHistory {
    Nanoseconds horizon_ns = kLongAgo;  // of any owner but `last`
    NodeId last = 0;
    Nanoseconds last_horizon_ns = kLongAgo;
    std::uint32_t epoch = 0;
  };

  explicit ClusterWorld(std::size_t nodes, std::uint64_t seed = 1) : random_(seed) {
    options.ownership_ns = 100 * kMillisecond;
    options.renew_ns = 33 * kMillisecond;
    options.grace_ns = 2 * kSecond;
    options.term_default_ns = 200 * kMillisecond;
    options.rebalance_after_ns = 300 * kMillisecond;
    nodes_.resize(nodes);
    for (std::size_t i = 0; i < nodes; ++i) start(i);
  }

  void start(std::size_t index) {
    Node& node = nodes_[index];
    node.record.id = static_cast<NodeId>(index + 1);
    node.record.incarnation = ++node.incarnation;
    node.record.horizon_tai_ns = node.member ? now_ns + kSecond : kLongAgo;  // from its disk
    node.member = std::make_unique<Member>(options, node.record);
    node.running = true;
  }

  [[nodiscard]] ClockReading reading(const Node& node) const {
    ClockReading reading;
    reading.tai = Interval::around(now_ns + node.clock_error_ns, half_width_ns);
    reading.state = ClockState::kSync;
    return reading;
  }

  // False where `done` did not come true in time.
  bool run(
      Nanoseconds duration_ns, const std::function<bool()>& done = [] { return false; }) {
    for (const Nanoseconds end = now_ns + duration_ns; now_ns < end; now_ns += kMillisecond) {
      turn();
      if (done()) return true;
    }
    return false;
  }

  [[nodiscard]] bool serves(const Node& node, std::uint16_t slot) const {
    const MoveOrder* moving = node.member->moving();
    if (moving != nullptr &&
        std::find(moving->slots.begin(), moving->slots.end(), slot) != moving->slots.end()) {
      return false;  // answered "moving"
    }
    return node.running && node.member->map().slots[slot].owner.node == node.record.id &&
           reading(node).tai.latest < node.member->serve_until();
  }
  [[nodiscard]] std::uint32_t served(std::size_t index) const {
    std::uint32_t count = 0;
    for (std::uint16_t slot = 0; slot < kSlotCount; ++slot) count += serves(nodes_[index], slot);
    return count;
  }
  [[nodiscard]] std::uint32_t served_by_all() const {
    std::uint32_t count = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) count += served(i);
    return count;
  }

  Node& node(std::size_t index) { return nodes_[index]; }
  Member& member(std::size_t index) { return *nodes_[index].member; }

  MemberOptions options;
  Nanoseconds now_ns = 1'700'000'000 * kSecond;
  Nanoseconds half_width_ns = kMillisecond;
  Nanoseconds store_delay_ns = 3 * kMillisecond;
  double store_fails = 0;  // of answers; the request may have been applied
  double peer_loss = 0;
  bool store_up = true;
  bool transfers = true;

 private:
  struct Request {
    Nanoseconds at_ns;
    std::size_t node;
    std::uint32_t incarnation;
    CoordinatorRequest request;
  };
  struct Answer {
    Nanoseconds at_ns;
    std::size_t node;
    std::uint32_t incarnation;
    CoordinatorAnswer answer;
  };
  struct Message {
    Nanoseconds at_ns;
    PeerMessage message;
  };

  bool chance(double probability) {
    return std::uniform_real_distribution<double>(0, 1)(random_) < probability;
  }
  Nanoseconds some(Nanoseconds about_ns) {
    return about_ns / 2 +
           static_cast<Nanoseconds>(random_() % static_cast<std::uint64_t>(about_ns));
  }

  void turn() {
    turn_store();
    deliver();
    for (std::size_t i = 0; i < nodes_.size(); ++i) turn_node(i);
    check();
  }

  void turn_store() {
    std::vector<Request> later;
    for (Request& each : requests_) {
      if (each.at_ns > now_ns) {
        later.push_back(std::move(each));
        continue;
      }
      CoordinatorAnswer answer;
      answer.id = each.request.id;
      answer.trouble = "lost";
      const bool reached = store_up && nodes_[each.node].reaches_store;
      if (reached && !chance(store_fails / 2)) {
        answer = store_.apply(each.request);
        if (answer.succeeded && !each.request.puts.empty()) tell_watchers(each.request, answer);
        // Applied, and the answer is lost; or it fails now and is applied later all the same.
        if (chance(store_fails / 2)) answer = {each.request.id, false, false, 0, {}, {}, "lost"};
      } else if (reached && chance(0.5)) {
        later.push_back({now_ns + some(200 * kMillisecond), each.node, 0, each.request});
      }
      answers_.push_back(
          {now_ns + (answer.reached ? some(store_delay_ns) : some(100 * kMillisecond)), each.node,
           each.incarnation, answer});
    }
    requests_ = std::move(later);
  }

  void tell_watchers(const CoordinatorRequest& request, const CoordinatorAnswer& answer) {
    CoordinatorAnswer seen;
    seen.reached = seen.succeeded = true;
    seen.revision = answer.revision;
    for (const KeyValue& put : request.puts) {
      seen.read.push_back({put.key, put.value, answer.revision});
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!nodes_[i].reaches_store) continue;
      answers_.push_back({now_ns + some(store_delay_ns), i, nodes_[i].incarnation, seen});
    }
  }

  void deliver() {
    std::vector<Answer> later;
    for (Answer& each : answers_) {
      Node& node = nodes_[each.node];
      if (each.at_ns > now_ns || !node.running) {
        later.push_back(std::move(each));
      } else if (each.incarnation == node.incarnation) {
        node.member->answered(each.answer, reading(node));
      }
    }
    answers_ = std::move(later);
    std::vector<Message> waiting;
    for (Message& each : messages_) {
      Node& node = nodes_[each.message.to - 1U];
      if (each.at_ns > now_ns || !node.running) {
        waiting.push_back(each);
      } else if (node.reaches_peers && nodes_[each.message.from - 1U].reaches_peers) {
        node.member->received(each.message, reading(node));
      }
    }
    messages_ = std::move(waiting);
  }

  void turn_node(std::size_t index) {
    Node& node = nodes_[index];
    if (!node.running) return;
    Member& member = *node.member;
    member.step(reading(node), now_ns + 200 * kMillisecond);
    CoordinatorRequest request;
    while (member.next_request(request)) {
      requests_.push_back({now_ns + some(store_delay_ns), index, node.incarnation, request});
    }
    PeerMessage message;
    while (member.next_message(message)) {
      if (!chance(peer_loss)) messages_.push_back({now_ns + some(kMillisecond), message});
    }
    MoveOrder order;
    if (member.next_move(order)) member.transferred(order.id, transfers, reading(node));
  }

  void check() {
    for (std::uint16_t slot = 0; slot < kSlotCount; slot += 31) {
      SlotHistory& history = history_[slot];
      std::size_t owners = 0;
      for (const Node& node : nodes_) {
        if (!serves(node, slot)) continue;
        ++owners;
        const SlotEntry& entry = node.member->map().slots[slot];
        if (history.last != node.record.id || history.epoch != entry.epoch) {
          ASSERT_GT(entry.epoch, history.epoch);
          history.horizon_ns = std::max(history.horizon_ns, history.last_horizon_ns);
          history.last = node.record.id;
          history.epoch = entry.epoch;
          history.last_horizon_ns = kLongAgo;
        }
        history.last_horizon_ns = std::max(history.last_horizon_ns, node.member->horizon());
        ASSERT_GE(entry.leases_until_tai_ns, history.horizon_ns)
            << "slot " << slot << " at node " << node.record.id << " epoch " << entry.epoch;
      }
      ASSERT_LE(owners, 1U) << "slot " << slot;
    }
  }

  std::mt19937_64 random_;
  MemoryStore store_;
  std::vector<Node> nodes_;
  std::vector<Request> requests_;
  std::vector<Answer> answers_;
  std::vector<Message> messages_;
  std::array<SlotHistory, kSlotCount> history_;
};

}  // namespace driftlock::test
