#include "src/client/hold_times.hpp"

#include <algorithm>

namespace driftlock::client {

void HoldTimes::record(const std::string& key, Nanoseconds held_ns) {
  auto found = entries_.find(key);
  if (found == entries_.end()) {
    if (entries_.size() == kLocksMax) {
      entries_.erase(by_age_.back());
      by_age_.pop_back();
    }
    by_age_.push_front(key);
    found = entries_.emplace(key, Entry{}).first;
    found->second.age = by_age_.begin();
  }
  Entry& entry = found->second;
  by_age_.splice(by_age_.begin(), by_age_, entry.age);
  entry.held_ns[entry.count % kHoldsKept] = std::max<Nanoseconds>(held_ns, 0);
  ++entry.count;
}

Nanoseconds HoldTimes::predict(const std::string& key) const {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return 0;
  auto held = found->second.held_ns;
  const std::size_t count = std::min<std::size_t>(found->second.count, kHoldsKept);
  // The 0.9 quantile, nearest rank.
  const std::size_t rank = (count * 9 + 9) / 10 - 1;
  std::nth_element(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(rank),
                   held.begin() + static_cast<std::ptrdiff_t>(count));
  return held[rank];
}

}  // namespace driftlock::client
