/* driftlock_clock.h: the node's clock for any local program, read from shared memory without a
 * system call. One driftlock_clock may be used by many threads once it is open. Invariant: what is
 * returned holds true TAI for as long as the node's hard bound does, also when the node has died:
 * the bound grows with age and is LOST in the end. */
#ifndef DRIFTLOCK_CLOCK_H
#define DRIFTLOCK_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DRIFTLOCK_CLOCK_API __attribute__((visibility("default")))

enum driftlock_clock_state {
  DRIFTLOCK_CLOCK_LOST = 0, /* no promise at all */
  DRIFTLOCK_CLOCK_SYNC = 1,
  DRIFTLOCK_CLOCK_HOLDOVER = 2,
  DRIFTLOCK_CLOCK_SUSPECT = 3
};

/* TAI in nanoseconds since 1970-01-01 00:00:00 TAI. */
struct driftlock_clock_reading {
  int64_t earliest_ns; /* true time is in [earliest_ns, latest_ns]: hard bound */
  int64_t latest_ns;
  int64_t estimate_ns;
  int64_t sigma_ns; /* statistical: the error is within 4.5 sigma 99.9% of the time */
  int32_t state;    /* enum driftlock_clock_state; LOST: the other fields mean nothing */
};

typedef struct driftlock_clock driftlock_clock;

/* Opens the segment that a node publishes (its clock.segment). NULL on failure; the reason, if
 * `error` is given, is written there. */
DRIFTLOCK_CLOCK_API driftlock_clock* driftlock_clock_open(const char* path, char* error,
                                                          size_t error_bytes);
DRIFTLOCK_CLOCK_API void driftlock_clock_close(driftlock_clock* clock);

/* The time now. Returns 0, or -1 where the state is LOST. */
DRIFTLOCK_CLOCK_API int driftlock_clock_now(const driftlock_clock* clock,
                                            struct driftlock_clock_reading* reading);

/* Sleeps until true time is certainly past `tai_ns` (earliest_ns > tai_ns). Returns 0; or -1 where
 * the clock was or got LOST, or at most `timeout_ns` of local time passed before. */
DRIFTLOCK_CLOCK_API int driftlock_clock_wait_until_past(const driftlock_clock* clock,
                                                        int64_t tai_ns, int64_t timeout_ns);

#ifdef __cplusplus
}
#endif

#endif
