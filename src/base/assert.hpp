// DRIFTLOCK_ASSERT: a programmer's error ends the process, in release builds too, because a lock
// manager that goes on with a broken invariant hands one lock to two holders.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace driftlock {

[[noreturn, gnu::cold]] inline void assertion_failed(const char* condition, const char* file,
                                                     int line) {
  std::fprintf(stderr, "%s:%d: driftlock invariant broken: %s\n", file, line, condition);
  std::abort();
}

}  // namespace driftlock

#define DRIFTLOCK_ASSERT(condition)   \
  (__builtin_expect(!!(condition), 1) \
       ? static_cast<void>(0)         \
       : ::driftlock::assertion_failed(#condition, __FILE__, __LINE__))
