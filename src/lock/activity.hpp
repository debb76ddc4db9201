// Activity: what the fast path tells an observer about each operation it has served. The observer
// is a template parameter of the fast path (predict's profile recorder, or NoObserver), called on
// the lcore: it must not allocate, lock, or make a system call.
#pragma once

#include <concepts>
#include <cstdint>

#include "src/base/time.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {

class Engine;

struct Activity {
  std::uint32_t session_index =
      0;  // dense, below the node's session limit; reused after a session ends
  std::uint64_t session_id = 0;  // never reused
  std::uint64_t client_id = 0;
  std::uint64_t key_hash = 0;  // 0 where the operation names no lock
  wire::Op op = wire::Op::kNone;
  wire::Status status = wire::Status::kOk;
  Nanoseconds received_tai_ns = 0;  // middle of the node's interval at receipt
  Nanoseconds waited_ns = 0;        // in the node, from receipt to being served
  Nanoseconds transit_ns = 0;    // received - the client's clock at sending: path and clock offset
  Nanoseconds lease_end_ns = 0;  // of the session, where the answer states it
  Nanoseconds term_ns = 0;       // the same
  Nanoseconds clock_residual_ns = 0;      // release: see wire::Reply
  Nanoseconds behaviour_residual_ns = 0;  // release with a stated prediction: see wire::Reply
};

// What a client host's probe told of a session: the path as the client sees it.
struct PathReport {
  std::uint32_t session_index = 0;
  std::uint64_t session_id = 0;
  std::uint32_t requests = 0;
  std::uint32_t replies = 0;
  Nanoseconds p50_ns = 0;  // of the replies, if there are any
  Nanoseconds p99_ns = 0;
};

template <typename O>
concept Observer = requires(O observer, const Activity& activity, const PathReport& path) {
  { observer.observe(activity) } -> std::same_as<void>;
  { observer.observe_path(path) } -> std::same_as<void>;
};

// An observer that also forecasts waits, and acts on the engine between two bursts.
template <typename O>
concept Forecaster = requires(O observer, Engine& engine, const ClockReading& now) {
  observer.turn(engine, now);
  {
    observer.forecast_us(engine, std::uint64_t{}, std::uint32_t{}, std::uint8_t{}, std::uint32_t{},
                         now)
    } -> std::same_as<std::uint32_t>;
};

struct NoObserver {
  void observe(const Activity&) {}
  void observe_path(const PathReport&) {}
};

}  // namespace driftlock
