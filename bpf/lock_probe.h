// What the kernel side of the probe (lock_probe.bpf.c) and its reader (probe_maps.cpp) agree on:
// layouts of maps and events, and the parts of the wire protocol that the probe reads. The offsets
// are held against src/lock/wire.hpp by tests/unit/probe_layout_test.cpp.
#ifndef DRIFTLOCK_BPF_LOCK_PROBE_H
#define DRIFTLOCK_BPF_LOCK_PROBE_H

#include <stdint.h>

enum {
  PROBE_WIRE_MAGIC = 0x314B4C44,
  PROBE_WIRE_VERSION = 1,
  PROBE_WIRE_HEADER_BYTES = 48,
  PROBE_WIRE_VERSION_AT = 4,
  PROBE_WIRE_KIND_AT = 5,
  PROBE_WIRE_LENGTH_AT = 6,
  PROBE_WIRE_SESSION_AT = 8,
  PROBE_WIRE_NONCE_AT = 16,
  PROBE_WIRE_OP_COUNT_AT = 42,
  PROBE_WIRE_KIND_REQUEST = 0,
  PROBE_WIRE_KIND_REPLY = 1,
  PROBE_WIRE_KIND_PUSH = 2,
  PROBE_WIRE_KIND_ERROR = 3,
  PROBE_WIRE_OP_OPEN = 1,
};

// Latency histogram: 16 buckets to each power of two of nanoseconds from 2^8 (256 ns) to 2^35 (34
// s). A bucket is at most 6.25% wide, so that its middle is within 3.2% of what fell into it.
// Shorter latencies fall into the first bucket, longer ones into the last.
enum {
  PROBE_FIRST_POWER = 8,
  PROBE_POWERS = 27,
  PROBE_SUB_BITS = 4,
  PROBE_SUB_BUCKETS = 1 << PROBE_SUB_BITS,
  PROBE_BUCKETS = PROBE_POWERS << PROBE_SUB_BITS,
};

// By halving, because a BPF processor has no instruction that counts zeros.
static inline uint64_t probe_log2(uint64_t value) {
  uint64_t power = 0;
  for (uint64_t step = 32; step; step >>= 1) {
    if (value >> step) {
      value >>= step;
      power += step;
    }
  }
  return power;
}

static inline uint64_t probe_bucket_of(uint64_t latency_ns) {
  uint64_t power;
  if (latency_ns < 1U << PROBE_FIRST_POWER) return 0;
  power = probe_log2(latency_ns);
  if (power >= PROBE_FIRST_POWER + PROBE_POWERS) return PROBE_BUCKETS - 1;
  return ((power - PROBE_FIRST_POWER) << PROBE_SUB_BITS) +
         ((latency_ns >> (power - PROBE_SUB_BITS)) & (PROBE_SUB_BUCKETS - 1));
}

// Which clock a time of the probe counts. Times of different clocks are never compared.
enum probe_clock { PROBE_CLOCK_MONOTONIC = 1 };  // bpf_ktime_get_ns, as CLOCK_MONOTONIC

// The client's end of a flow, in host byte order.
struct probe_client_key {
  uint32_t ipv4;
  uint16_t udp_port;
  uint16_t reserved;
};

// A request without an answer yet, in a set of those whose tags share their high bits. writer:
// kernel; reader: whoever counts. A tag of 0 is an empty place.
struct probe_flight {
  uint64_t tag;  // client and nonce, mixed
  uint64_t started_ns;
};
enum { PROBE_FLIGHT_WAYS = 4 };
struct probe_flight_set {
  struct probe_flight way[PROBE_FLIGHT_WAYS];
};

// Places of the map of AF_XDP sockets, one for each receive queue.
enum { PROBE_QUEUES_MAX = 64 };

// Value of the map `clients`; its replies are the sum of its buckets. writer: kernel (atomic
// additions); reader: the predictor thread.
struct probe_client {
  uint64_t session_id;  // the last one seen in a datagram that is not an open
  uint64_t first_ns;
  uint64_t last_request_ns;
  uint64_t last_reply_ns;
  uint64_t requests;   // new ones
  uint64_t repeats;    // requests whose first sending has no answer yet
  uint64_t unmatched;  // replies without a request
  uint64_t errors;     // of the replies that matched, those of kind error
  uint64_t pushes;
  uint64_t latency_sum_ns;
  uint32_t node_ipv4;  // of the session, host byte order
  uint16_t node_port;
  uint8_t clock;  // enum probe_clock, of all its times
  uint8_t reserved;
  uint32_t buckets[PROBE_BUCKETS];
};

// Value of the per-CPU map `counters`.
struct probe_counters {
  uint64_t requests;
  uint64_t repeats;
  uint64_t replies;
  uint64_t unmatched;
  uint64_t pushes;
  uint64_t errors;
  uint64_t malformed;   // to or from the port, but not a driftlock datagram
  uint64_t fragments;   // to or from the node, in pieces: not looked at
  uint64_t unreadable;  // its header was not in one piece
  uint64_t flights_added;
  uint64_t flights_removed;  // answered
  uint64_t flights_evicted;  // given up for newer ones
  uint64_t clients_added;    // less those present: evicted
  uint64_t clients_refused;
  uint64_t events;
  uint64_t events_lost;  // the ring was full
  uint64_t since_event;  // replies since the last one
};

// Sampled: one matched pair in `sample_every`.
struct probe_event {
  uint64_t time_ns;  // when the reply was seen
  uint64_t latency_ns;
  uint64_t session_id;
  uint64_t nonce;
  struct probe_client_key client;
  uint8_t kind;
  uint8_t op;  // of the first record, 0 where there is none
  uint8_t op_count;
  uint8_t clock;  // enum probe_clock
  uint32_t reserved;
};

#endif
