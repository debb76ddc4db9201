/* libdriftlock: distributed locks with leases and fencing tokens. The C interface, stable from
 * version 1.0 of the library on: symbols carry the version DRIFTLOCK_1, structures begin with their
 * size and only grow at their end. See libdriftlock(3).
 *
 * Threads: a client may be used by any number of threads; a lock by one at a time, but for
 * driftlock_still_held() and driftlock_remaining_ns(). A client outlives its locks.
 */
#ifndef DRIFTLOCK_H
#define DRIFTLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DRIFTLOCK_FOREVER INT64_MAX

/* Outcomes. 0 and above are the node's answers (docs/protocol.md lists them all); below, there is
 * none. */
enum {
  DRIFTLOCK_OK = 0,
  DRIFTLOCK_BUSY = 2,
  DRIFTLOCK_TIMEOUT = 3,
  DRIFTLOCK_NOT_HELD = 4,
  DRIFTLOCK_STALE_TOKEN = 5,
  DRIFTLOCK_NO_SESSION = 6,
  DRIFTLOCK_FULL = 7,
  DRIFTLOCK_CLOCK_LOST = 11,
  DRIFTLOCK_CANCELLED = 15,
  DRIFTLOCK_MODE_CONFLICT = 18,
  DRIFTLOCK_NO_ANSWER = -1, /* whether the node has acted is not known */
  DRIFTLOCK_INVALID = -2,   /* an argument, a key file */
  DRIFTLOCK_PENDING = -3    /* driftlock_next(): nothing yet */
};

enum { DRIFTLOCK_EXCLUSIVE = 0, DRIFTLOCK_SHARED = 1, DRIFTLOCK_SEMAPHORE = 2 };

/* How a lock, or a session, stands. */
enum { DRIFTLOCK_SAFE = 0, DRIFTLOCK_JEOPARDY = 1, DRIFTLOCK_LOST = 2 };

/* Events of a session. */
enum {
  DRIFTLOCK_EVENT_OPENED = 0,
  DRIFTLOCK_EVENT_SAFE = 1,
  DRIFTLOCK_EVENT_JEOPARDY = 2, /* comes before a lease ends */
  DRIFTLOCK_EVENT_LOST = 3,
  DRIFTLOCK_EVENT_PAUSED = 4, /* this program did not run for a while */
  DRIFTLOCK_EVENT_RECLAIMED = 5,
  DRIFTLOCK_EVENT_REVOKED = 6
};

typedef struct driftlock_client driftlock_client;
typedef struct driftlock_lock driftlock_lock;

typedef void (*driftlock_event_callback)(void* user, int event);
/* `lock` is null unless `outcome` is DRIFTLOCK_OK; it then belongs to the callee. Runs on the
 * library's thread and must not call what blocks. */
typedef void (*driftlock_lock_callback)(void* user, uint64_t operation, int outcome,
                                        driftlock_lock* lock);

typedef struct driftlock_options {
  size_t size;          /* sizeof(driftlock_options) */
  const char* server;   /* "HOST:PORT" */
  const char* key_file; /* this client's key, mode 0600 */
  uint64_t client_id;   /* which key of the file; 0 = the only one */
  int64_t term_ns;      /* lease term wanted; 0 = the node's default */
  int64_t timeout_ns;   /* for an answer; 0 = 5 s */
  uint16_t namespace_id;
  driftlock_event_callback on_event; /* may be null */
  void* user;                        /* for on_event */
} driftlock_options;

typedef struct driftlock_lock_options {
  size_t size; /* sizeof(driftlock_lock_options) */
  int mode;
  int64_t wait_ns;      /* 0 = try; DRIFTLOCK_FOREVER */
  int64_t hold_ns;      /* how long it will be held; 0 = as learnt from earlier holds */
  uint16_t permits;     /* semaphore */
  uint16_t permits_max; /* semaphore */
} driftlock_lock_options;

/* Why the last call in this thread failed, for people. Valid until the next call. */
const char* driftlock_last_error(void);
const char* driftlock_outcome_name(int outcome);
const char* driftlock_version(void);

/* Opens a session. */
int driftlock_connect(const driftlock_options* options, driftlock_client** client);
/* Closes it: every lock is released. Null is allowed. */
void driftlock_disconnect(driftlock_client* client);

/* Blocking. `options` may be null: exclusive, without waiting. */
int driftlock_acquire(driftlock_client* client, const char* key, size_t key_length,
                      const driftlock_lock_options* options, driftlock_lock** lock);
/* Releases and frees. DRIFTLOCK_OK where it was held until now. Null is allowed. */
int driftlock_release(driftlock_lock* lock);

/* Without blocking. Returns the operation's number, 0 where an argument is wrong. With a null
 * callback the outcome waits for driftlock_next(). */
uint64_t driftlock_acquire_start(driftlock_client* client, const char* key, size_t key_length,
                                 const driftlock_lock_options* options,
                                 driftlock_lock_callback done, void* user);
void driftlock_acquire_cancel(driftlock_client* client, uint64_t operation);
/* Readable while driftlock_next() has something. For poll(2); do not read it. */
int driftlock_descriptor(driftlock_client* client);
/* The next outcome, or DRIFTLOCK_PENDING. */
int driftlock_next(driftlock_client* client, uint64_t* operation, driftlock_lock** lock);

/* 1 until the node might grant the lock to another, whatever this program was doing. One clock
 * read, no system call. Once 0, never 1 again. */
int driftlock_still_held(const driftlock_lock* lock);
int driftlock_state(const driftlock_lock* lock);
/* How long the lock is sure to be held without another renewal. */
int64_t driftlock_remaining_ns(const driftlock_lock* lock);
/* The fencing token: rises with every grant. Pass it to what the lock guards. */
uint64_t driftlock_token(const driftlock_lock* lock);

#ifdef __cplusplus
}
#endif
#endif
