// FastPath: one lcore's loop body, run to completion: receive a burst, authenticate, act, stamp,
// answer in place, push what was waiting. A template over Port, Clock and Observer, so that the
// DPDK port, the kernel socket and the simulator run this very code without a virtual call. Nothing
// is allocated after construction. Definitions are in fast_path_impl.hpp, for the few files that
// instantiate it.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>

#include "src/base/counter.hpp"
#include "src/base/histogram.hpp"
#include "src/base/spsc_ring.hpp"
#include "src/lock/activity.hpp"
#include "src/lock/engine.hpp"
#include "src/lock/port.hpp"

namespace driftlock {

// ticks(): the counter now. view(): the clock as last published, copied out once a burst; its
// at(ticks) is a ClockReading. nanoseconds(ticks): the length of a span of ticks.
template <typename C>
concept Clock = requires(const C clock, std::uint64_t ticks) {
  { clock.ticks() } -> std::same_as<std::uint64_t>;
  { clock.view().at(ticks) } -> std::same_as<ClockReading>;
  { clock.nanoseconds(ticks) } -> std::same_as<Nanoseconds>;
};

// writer: the lcore; readers: metrics.
struct FastPathCounters {
  std::array<Counter, wire::kRejectCount> rejected;  // by wire::Reject
  std::array<std::array<Counter, wire::kStatusCount>, wire::kOpCount>
      operations;  // by op and status
  Counter datagrams_received;
  Counter datagrams_answered;
  Counter errors_sent;
  Counter pushes_sent;
  Counter polls;
  Counter polls_idle;
  std::array<Counter, 5> stamps;  // datagrams by StampSource
  LatencyHistogram residence;     // from receipt to sending
  // Of releases: how far the client's clock is from the node's, and how much longer or shorter than
  // foretold the lock was held.
  LatencyHistogram clock_residual;
  LatencyHistogram held_longer;
  LatencyHistogram held_shorter;
};

// Work that another thread asks the lcore to do between two bursts, such as an admin's look at the
// lock table. run() is called every turn until it returns true; it must do little at a time. owner:
// the asking thread, which waits for its own signal from run() before it destroys the task.
class EngineTask {
 public:
  virtual ~EngineTask() = default;
  [[nodiscard]] virtual bool run(Engine& engine, const ClockReading& now) = 0;
};

template <Port P, Clock C, Observer O>
class FastPath {
 public:
  FastPath(P& port, const C& clock, Engine& engine, O& observer, FastPathCounters& counters);

  // One turn of the loop; returns how many datagrams arrived. Never blocks.
  std::size_t poll();

  // producer: one other thread; false where too many tasks are waiting.
  [[nodiscard]] bool post(EngineTask* task) { return tasks_.push(task); }

  // The predictor's orders, and what came of them. producer of the first and consumer of the
  // second: the predictor thread. False where the ring is full, or empty.
  [[nodiscard]] bool order(const SessionOrder& order) { return orders_.push(order); }
  [[nodiscard]] bool next_outcome(OrderOutcome& outcome) { return outcomes_.pop(outcome); }

 private:
  // A datagram between the stages of a burst.
  struct Pending {
    wire::Header header;
    std::uint32_t session = kNil;  // kNil: an open, or not to be served
    wire::Reject reject = wire::Reject::kNone;
    std::array<std::uint64_t, wire::kOpsMax> key_hashes{};
  };

  void prefetch_payload(std::size_t index) const;
  void parse(std::size_t index);
  void authenticate(std::size_t received);
  // Null where there is none, the reason then being set.
  [[nodiscard]] const SecretKey* find_key(std::size_t index);
  void hash_keys(std::size_t index);
  void prefetch_locks(std::size_t index);
  void prefetch_places(std::size_t index);
  template <typename View>
  void serve(std::size_t index, const ClockReading& now, const View& view);
  void serve_open(Datagram& datagram, Pending& pending, const RequestContext& context);
  void serve_operations(Datagram& datagram, Pending& pending, const RequestContext& context);
  void serve_group(std::uint8_t* record, std::uint32_t session, const wire::Request& request,
                   const RequestContext& context);
  void reject(std::size_t index);
  // Fills in what every authenticated datagram of the node says of its clock, and puts it out to be
  // signed and sent. Returns how long the datagram has been in the node.
  Nanoseconds finish(Datagram& datagram, const SecretKey& key, const ClockReading& received);
  void push_waiting(const ClockReading& now, std::uint64_t now_ticks);
  void send_outgoing();
  void run_task(const ClockReading& now);
  void run_orders(const ClockReading& now);
  void observe(const Session& session, std::uint32_t session_index, std::uint64_t key_hash,
               const wire::Reply& reply, const RequestContext& context);

  P& port_;
  const C& clock_;
  Engine& engine_;
  O& observer_;
  FastPathCounters& counters_;
  std::array<Datagram, kBurst> burst_{};
  std::array<Pending, kBurst> pending_{};
  std::array<Datagram, kBurst> outgoing_{};
  std::array<SecretKey, kBurst> outgoing_keys_{};
  std::array<bool, kBurst> outgoing_signed_{};  // false: an error, which nobody can sign
  std::size_t outgoing_count_ = 0;
  std::uint64_t read_ticks_ = 0;  // when reading_ is the clock
  ClockReading reading_;
  SpscRing<EngineTask*> tasks_{64};
  EngineTask* current_task_ = nullptr;
  SpscRing<SessionOrder> orders_{4096};
  SpscRing<OrderOutcome> outcomes_{4096};
};

}  // namespace driftlock
