// History: how the node has been in the last quarter of an hour, one sample a second, for the
// status page. A ring of fixed size; written by its own thread, copied out under a mutex by whoever
// serves the page.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "src/node/node_view.hpp"

namespace driftlock {

class History {
 public:
  struct Sample {
    Nanoseconds unix_ns = 0;
    ClockState state = ClockState::kLost;
    // Relative to the estimate; 0 while LOST.
    Nanoseconds earliest_ns = 0;
    Nanoseconds latest_ns = 0;
    Nanoseconds sigma_ns = 0;
    std::uint64_t grants = 0;    // acquires answered ok and grants pushed, since the last sample
    std::uint64_t releases = 0;  // since the last sample
    std::uint64_t refusals = 0;  // acquires answered otherwise, since the last sample
    std::uint64_t rejected = 0;  // datagrams not served, since the last sample
    std::uint64_t sessions = 0;
    std::uint64_t locks = 0;
    std::uint64_t waiters = 0;
  };
  static constexpr std::size_t kSamplesMax = 900;

  explicit History(const NodeView& view);
  ~History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  // Oldest first.
  [[nodiscard]] std::vector<Sample> samples() const;

 private:
  struct Totals {
    std::uint64_t grants = 0;
    std::uint64_t releases = 0;
    std::uint64_t refusals = 0;
    std::uint64_t rejected = 0;
  };

  void run(const std::stop_token& stopping);
  [[nodiscard]] Totals totals() const;
  [[nodiscard]] Sample take();

  const NodeView view_;
  Totals before_;  // history thread
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::array<Sample, kSamplesMax> ring_{};  // guarded by mutex_
  std::uint64_t count_ = 0;                 // of all samples so far; guarded by mutex_
  std::jthread thread_;
};

}  // namespace driftlock
