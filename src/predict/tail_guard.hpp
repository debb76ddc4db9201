// TailGuard: keeps speculation from lengthening the tail of acquire latency. Owned by one thread.
//
// A grant called back delays whoever asked by about a round trip. That shows in the quantile `tail`
// (p99: 0.01) of all acquires only if it lifts requests above the quantile that would have been
// without. So two cases:
//  - the queue alone makes tails longer than a call-back: then a call-back stays below, and is
//  free;
//  - it does not: then the share of requests lifted must stay below what the tail has left.
// The second is a token bucket: every grant adds the share allowed, every request lifted takes one.
// How near it is to empty says how likely a call-back may be for a grant still to be made in
// advance.
#pragma once

#include <array>
#include <cstdint>

#include "src/base/time.hpp"

namespace driftlock {

class TailGuard {
 public:
  explicit TailGuard(double tail) : tail_(tail) {}

  // A request was granted: `wait_ns` in the queue without call-backs, `recall_ns` waiting for one.
  void granted(Nanoseconds wait_ns, Nanoseconds recall_ns);
  // The greatest chance of a call-back that is allowed now, if a call-back takes `recall_ns`.
  [[nodiscard]] double foreign_max(Nanoseconds recall_ns) const;
  // Lower bound of the tail of waits without call-backs.
  [[nodiscard]] Nanoseconds tail_wait_ns() const { return tail_wait_ns_; }
  [[nodiscard]] double tokens() const { return tokens_; }

 private:
  static constexpr int kPerOctave = 4;
  static constexpr int kBuckets = 36 * kPerOctave;
  static constexpr std::uint32_t kForgetAt = 1U << 15;
  static constexpr std::uint32_t kRecomputeEvery = 64;
  static constexpr double kTokensMax = 32.0;
  static constexpr double kTokensFree = 8.0;       // from here on every chance is allowed
  static constexpr double kAlwaysAllowed = 0.001;  // too rare to show in any tail looked at
  static constexpr double kUse = 0.8;              // of what the tail has left
  [[nodiscard]] static int bucket_of(Nanoseconds wait_ns);
  [[nodiscard]] static Nanoseconds lower_bound_ns(int bucket);
  void recompute();

  double tail_;
  std::array<std::uint32_t, kBuckets> counts_{};
  std::uint32_t total_ = 0;
  std::uint32_t until_recompute_ = kRecomputeEvery;
  Nanoseconds tail_wait_ns_ = 0;
  double above_ = 0.0;  // share of waits at or above tail_wait_ns_, where that is not 0
  double tokens_ = 0.0;
};

}  // namespace driftlock
