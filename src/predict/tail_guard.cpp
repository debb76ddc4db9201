#include "src/predict/tail_guard.hpp"

#include <algorithm>
#include <cmath>

namespace driftlock {

int TailGuard::bucket_of(Nanoseconds wait_ns) {
  if (wait_ns <= 1) return 0;
  const double octaves = std::log2(static_cast<double>(wait_ns));
  return std::clamp(1 + static_cast<int>(octaves * kPerOctave), 1, kBuckets - 1);
}

Nanoseconds TailGuard::lower_bound_ns(int bucket) {
  if (bucket == 0) return 0;
  return static_cast<Nanoseconds>(std::exp2(static_cast<double>(bucket - 1) / kPerOctave));
}

void TailGuard::granted(Nanoseconds wait_ns, Nanoseconds recall_ns) {
  ++counts_[static_cast<std::size_t>(bucket_of(wait_ns))];
  ++total_;
  tokens_ = std::min(kTokensMax, tokens_ + kUse * std::max(0.0, tail_ - above_));
  // Lifted into the tail: it was below, and the call-back has taken it there.
  if (recall_ns > 0 && wait_ns <= tail_wait_ns_ && wait_ns + recall_ns > tail_wait_ns_) {
    tokens_ = std::max(-kTokensMax, tokens_ - 1.0);
  }
  if (--until_recompute_ == 0) recompute();
}

void TailGuard::recompute() {
  until_recompute_ = kRecomputeEvery;
  if (total_ >= kForgetAt) {
    total_ = 0;
    for (std::uint32_t& count : counts_) total_ += count /= 2;
  }
  std::uint32_t seen = 0;
  int bucket = kBuckets - 1;
  for (; bucket > 0; --bucket) {
    seen += counts_[static_cast<std::size_t>(bucket)];
    if (seen >= tail_ * total_) break;
  }
  tail_wait_ns_ = lower_bound_ns(bucket);
  above_ = static_cast<double>(seen) / std::max(1U, total_);
}

double TailGuard::foreign_max(Nanoseconds recall_ns) const {
  if (recall_ns < tail_wait_ns_) return 1.0;
  if (tokens_ >= kTokensFree) return 1.0;
  if (tokens_ <= 0.0) return kAlwaysAllowed;
  const double part = tokens_ / kTokensFree;
  return std::max(kAlwaysAllowed, 0.1 * part * part);
}

}  // namespace driftlock
