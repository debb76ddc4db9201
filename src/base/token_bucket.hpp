// TokenBucket: so many a second on average, and a burst at once. Pure: time is an argument.
#pragma once

#include <algorithm>

#include "src/base/time.hpp"

namespace driftlock {

struct TokenBucket {
  Nanoseconds filled_ns = kLongAgo;
  double tokens = 0.0;

  // Takes one, if there is one.
  [[nodiscard]] bool take(Nanoseconds now_ns, double per_second, double burst) {
    if (filled_ns == kLongAgo) {
      tokens = burst;
    } else if (now_ns > filled_ns) {
      tokens = std::min(burst, tokens + static_cast<double>(now_ns - filled_ns) / 1e9 * per_second);
    }
    filled_ns = std::max(filled_ns, now_ns);
    if (tokens < 1.0) return false;
    tokens -= 1.0;
    return true;
  }
};

}  // namespace driftlock
