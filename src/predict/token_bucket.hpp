// TokenBucket: so many a second on average, and a burst at once. Pure: time is an argument.
#pragma once

#include <algorithm>

#include "src/base/time.hpp"

namespace driftlock {

struct TokenBucket {
  Nanoseconds filled_ns = kLongAgo;
  float tokens = 0.0F;

  // Takes one, if there is one.
  [[nodiscard]] bool take(Nanoseconds now_ns, double per_second, double burst) {
    if (filled_ns == kLongAgo) tokens = static_cast<float>(burst);
    if (filled_ns != kLongAgo && now_ns > filled_ns) {
      const double earned = static_cast<double>(now_ns - filled_ns) / 1e9 * per_second;
      tokens = static_cast<float>(std::min(burst, static_cast<double>(tokens) + earned));
    }
    filled_ns = std::max(filled_ns, now_ns);
    if (tokens < 1.0F) return false;
    tokens -= 1.0F;
    return true;
  }
};

}  // namespace driftlock
