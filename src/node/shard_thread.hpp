// ShardThread: the loop that both kinds of shard run, and the thread it runs in. A template over
// the port, as the fast path is; included where it is instantiated. The thread allocates, locks and
// logs nothing once it has begun.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>
#include <thread>

#include "hw/node_clock.hpp"
#include "src/lock/fast_path_impl.hpp"
#include "src/node/log.hpp"
#include "src/node/shard.hpp"

namespace driftlock {

// The fast path's observer: one branch where nobody is profiled, one where nothing is learnt of
// locks.
class ShardObserver {
 public:
  ShardObserver(ProfileTable* table, Speculator* speculator) : speculator_(speculator) {
    if (table != nullptr) recorder_.emplace(*table);
  }
  void observe(const Activity& activity) {
    if (recorder_) recorder_->observe(activity);
  }
  void observe_path(const PathReport& report) {
    if (recorder_) recorder_->observe_path(report);
  }

  void turn(Engine& engine, const ClockReading& now) {
    if (speculator_ != nullptr) speculator_->turn(engine, now);
  }
  [[nodiscard]] std::uint32_t forecast_us(const Engine& engine, std::uint64_t key_hash,
                                          std::uint32_t session, std::uint8_t slot,
                                          std::uint32_t ahead, const ClockReading& now) {
    return speculator_ == nullptr
               ? 0
               : speculator_->forecast_us(engine, key_hash, session, slot, ahead, now);
  }

 private:
  std::optional<ProfileRecorder> recorder_;
  Speculator* const speculator_;
};

template <Port P>
class ShardThread {
 public:
  ShardThread(P& port, const ShardParts& parts, std::int64_t cpu)
      : engine_(parts.engine),
        clock_(parts.clock),
        observer_(parts.profiles, parts.speculator),
        path_(port, clock_, parts.engine, observer_, parts.counters),
        cpu_(cpu) {}
  ~ShardThread() { stop(); }
  ShardThread(const ShardThread&) = delete;
  ShardThread& operator=(const ShardThread&) = delete;

  // `enter` and `leave` run in the thread, before and after the loop; returns what `enter` did.
  // `idle` runs after a poll that found nothing, unless a question is being worked on.
  template <typename Enter, typename Idle, typename Leave>
  [[nodiscard]] Status start(Enter enter, Idle idle, Leave leave) {
    std::promise<Status> entered;
    std::future<Status> result = entered.get_future();
    thread_ = std::thread([=, this, entered = std::move(entered)]() mutable {
      pthread_setname_np(pthread_self(), "shard");
      bind_to_cpu();
      const Status status = enter();
      const bool ok = status.ok();
      entered.set_value(status);
      if (!ok) return;
      while (!stopping_.load(std::memory_order_relaxed)) {
        if (path_.poll() == 0 && !asked_.load(std::memory_order_relaxed)) idle();
      }
      leave();
    });
    return result.get();
  }
  void stop() {
    stopping_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) thread_.join();
  }
  // The lcore makes no system call for us, such as waking us up would be: we look.
  void ask(EngineTask& task) {
    const std::scoped_lock one_at_a_time(ask_mutex_);
    Errand errand(task);
    asked_.store(true, std::memory_order_relaxed);
    const bool posted = path_.post(&errand);
    DRIFTLOCK_ASSERT(posted);  // one asker at a time, with one question
    while (!errand.done()) std::this_thread::sleep_for(std::chrono::microseconds(200));
    asked_.store(false, std::memory_order_relaxed);
  }
  [[nodiscard]] bool order(const SessionOrder& order) { return path_.order(order); }
  [[nodiscard]] bool next_outcome(OrderOutcome& outcome) { return path_.next_outcome(outcome); }
  [[nodiscard]] bool serves_anyone() const { return engine_.gauges().sessions_active.read() != 0; }

 private:
  // A task that says when it is done.
  class Errand final : public EngineTask {
   public:
    explicit Errand(EngineTask& task) : task_(task) {}
    [[nodiscard]] bool run(Engine& engine, const ClockReading& now) override {
      if (!task_.run(engine, now)) return false;
      done_.store(true, std::memory_order_release);
      return true;
    }
    [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }

   private:
    EngineTask& task_;
    std::atomic<bool> done_{false};  // writer: lcore; reader: asking thread
  };

  void bind_to_cpu() const {
    if (cpu_ < 0) return;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<std::size_t>(cpu_), &cpus);
    if (pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus) == 0) return;
    log_line(LogLevel::kWarning, "port.cpu cannot be had; running unbound",
             {{"cpu", std::to_string(cpu_)}});
  }

  Engine& engine_;
  const NodeClock clock_;
  ShardObserver observer_;
  FastPath<P, NodeClock, ShardObserver> path_;
  const std::int64_t cpu_;
  std::atomic<bool> stopping_{false};  // writer: main thread; reader: lcore
  std::mutex ask_mutex_;
  std::atomic<bool> asked_{false};  // writer: asking thread; reader: lcore
  std::thread thread_;
};

}  // namespace driftlock
