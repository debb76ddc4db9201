// LeaseView: a session's lease as every thread of the client's program may see it. Asking costs one
// clock read and no lock. Once anyone has seen the lease over, it stays over: a late renewal cannot
// bring back a lock that its holder was told is gone.
// writer: the thread that drives the SessionCore; readers: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "src/base/time.hpp"

namespace driftlock::client {

enum class HolderState : std::uint8_t {
  kSafe,      // held, and renewals are being answered
  kJeopardy,  // still held, but the lease will end unless a renewal is answered soon
  kLost,      // not held, or no longer known to be: stop
};

constexpr const char* to_string(HolderState state) {
  switch (state) {
    case HolderState::kSafe:
      return "SAFE";
    case HolderState::kJeopardy:
      return "JEOPARDY";
    case HolderState::kLost:
      return "LOST";
  }
  return "?";
}

class LeaseView {
 public:
  [[nodiscard]] HolderState state(Nanoseconds local_ns) {
    if (lost_.load(std::memory_order_acquire)) return HolderState::kLost;
    if (local_ns >= safe_until_ns_.load(std::memory_order_acquire)) {
      lost_.store(true, std::memory_order_release);
      return HolderState::kLost;
    }
    return local_ns >= jeopardy_from_ns_.load(std::memory_order_acquire) ? HolderState::kJeopardy
                                                                         : HolderState::kSafe;
  }
  // Local time at which the lease counts as over unless it is renewed.
  [[nodiscard]] Nanoseconds safe_until_ns() const {
    return safe_until_ns_.load(std::memory_order_acquire);
  }
  [[nodiscard]] Nanoseconds jeopardy_from_ns() const {
    return jeopardy_from_ns_.load(std::memory_order_acquire);
  }
  [[nodiscard]] bool lost() const { return lost_.load(std::memory_order_acquire); }

  void extend(Nanoseconds safe_until_ns, Nanoseconds jeopardy_from_ns) {
    jeopardy_from_ns_.store(jeopardy_from_ns, std::memory_order_release);
    safe_until_ns_.store(safe_until_ns, std::memory_order_release);
  }
  void lose() { lost_.store(true, std::memory_order_release); }

 private:
  std::atomic<Nanoseconds> safe_until_ns_{kLongAgo};
  std::atomic<Nanoseconds> jeopardy_from_ns_{kLongAgo};
  std::atomic<bool> lost_{false};
};

// One lock as its holder sees it: held while its session's lease is, unless it was lost alone
// (taken over by another under a higher token, or not reclaimed after the node's restart).
class LockView {
 public:
  explicit LockView(std::shared_ptr<LeaseView> lease) : lease_(std::move(lease)) {}

  [[nodiscard]] HolderState state(Nanoseconds local_ns) {
    return lost_.load(std::memory_order_acquire) ? HolderState::kLost : lease_->state(local_ns);
  }
  [[nodiscard]] Nanoseconds safe_until_ns() const { return lease_->safe_until_ns(); }
  [[nodiscard]] bool lost() const {
    return lost_.load(std::memory_order_acquire) || lease_->lost();
  }
  void lose() { lost_.store(true, std::memory_order_release); }

 private:
  const std::shared_ptr<LeaseView> lease_;
  std::atomic<bool> lost_{false};
};

}  // namespace driftlock::client
