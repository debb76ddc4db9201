// SimClient: a program on a machine of its own: the client library's SessionCore, and a few tasks
// that take locks, alone or in groups, hold them for a while, convert some and give them back. It
// dies and comes back, is stopped and goes on; its clocks are its own. One thread.
//
// client.cpp has its life, clocks and socket, client_tasks.cpp what its tasks do.
#pragma once

#include <memory>
#include <vector>

#include "src/client/session_core.hpp"
#include "tools/check/history.hpp"
#include "tools/sim/clocks.hpp"
#include "tools/sim/network.hpp"
#include "tools/sim/oracle.hpp"

namespace driftlock::sim {

struct ClientPlan {
  std::uint32_t index = 0;
  client::SessionOptions session;
  bool synchronized = false;
  Nanoseconds half_width_ns = kMillisecond;  // of a synchronized clock
  Nanoseconds think_ns = 30 * kMillisecond;  // mean between two operations of a task
  Nanoseconds hold_ns = 20 * kMillisecond;
  std::uint32_t tasks = 2;
  double groups = 0.1;    // chance that a task asks for several locks at once
  double converts = 0.2;  // ... that a look at a lock becomes a conversion
};

class SimClient {
 public:
  SimClient(Events& events, Network& network, Oracle& oracle, check::History& history,
            const ClientPlan& plan, Random random);

  void start();
  [[nodiscard]] bool down() const { return core_ == nullptr; }
  void receive(Packet packet);

  // Faults.
  void crash();
  void pause(Nanoseconds until_ns);
  void set_offset(Nanoseconds offset_ns) { offset_ns_ = offset_ns; }
  void step(Nanoseconds by_ns) { offset_ns_ += by_ns; }
  // -1 to 1: as slow or as fast as its drift bound allows.
  void set_drift(double part);
  void walk(Random& random, bool on);

  // The end of a run: no new work; one last operation that must succeed; goodbye.
  void finish_work();
  void probe();
  void close();
  void forget();  // what it still believes is written down, and over
  [[nodiscard]] bool settled() const;
  [[nodiscard]] bool probed() const { return probed_; }
  [[nodiscard]] bool closed() const { return core_ == nullptr || core_->is_closed(); }
  [[nodiscard]] std::uint64_t sessions_lost() const { return sessions_lost_; }
  [[nodiscard]] std::string describe() const;

 private:
  enum class Doing : std::uint8_t { kThinking, kAcquiring, kHolding, kConverting, kReleasing };
  struct Task {
    Doing doing = Doing::kThinking;
    client::OperationId id = 0;
    std::uint64_t turn = 0;  // a plan of an earlier turn is void
    client::Operation operation;
    std::vector<Hold*> holds;             // of a group several, released one by one
    std::vector<std::uint64_t> recorded;  // what is under way, by its numbers in the history
  };

  [[nodiscard]] client::LocalTime read();
  [[nodiscard]] Nanoseconds local_ns() const { return counter_.at(events_.now_ns()); }
  void pump();
  void plan_wake();
  void complete(const client::Completion& completion);
  void begin_task(std::size_t index);
  void act(std::size_t index);
  void settle(std::size_t index, const client::Completion& completion);
  void plan_act(std::size_t index, Nanoseconds delay_ns);
  void acquire(Task& task, std::size_t index);
  void granted(Task& task, const client::Completion& completion);
  void hold(Task& task, const client::GroupMember& member, std::uint64_t token,
            const std::shared_ptr<client::LockView>& lock);
  void look(std::size_t index);
  [[nodiscard]] bool may_convert(const Task& task) const;
  void convert(Task& task, std::size_t index);
  void converted(Task& task, std::size_t index, const client::Completion& completion);
  void release(Task& task);
  void drop(Task& task);
  void drop(Hold& hold);
  void submit(Task& task, const client::Operation& operation);
  void record(Task& task, const client::Operation& operation);
  void record_answer(Task& task, const client::Completion& completion);
  void close_session();
  [[nodiscard]] client::Operation choose();
  [[nodiscard]] client::Operation choose_group(std::uint32_t count);
  [[nodiscard]] client::Operation operation_on(std::uint32_t key) const;
  void trace(const std::string& line) const;

  Events& events_;
  Network& network_;
  Oracle& oracle_;
  check::History& history_;
  ClientPlan plan_;
  Random random_;
  RateClock counter_;
  std::unique_ptr<client::SessionCore> core_;
  std::uint64_t life_ = 0;
  std::vector<Task> tasks_;
  std::vector<Packet> socket_;  // arrived while it was stopped
  std::vector<std::function<void()>> missed_;
  Nanoseconds paused_until_ns_ = kLongAgo;
  Nanoseconds wake_ns_ = kNever;
  Nanoseconds offset_ns_ = 0;
  Nanoseconds error_ns_ = 0;  // of a synchronized clock
  Nanoseconds error_until_ns_ = kLongAgo;
  double drift_ = 0;
  bool walking_ = false;
  bool working_ = true;
  bool probing_ = false;
  bool probed_ = false;
  bool closing_ = false;
  std::uint64_t sessions_lost_ = 0;
};

}  // namespace driftlock::sim
