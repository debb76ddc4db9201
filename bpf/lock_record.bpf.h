// What the probe remembers of a lock datagram: pairs each request with its reply and keeps a
// latency histogram per client. Kernel side only; shared by the probe's programs and by the one
// that measures what they cost.
//
// A packet costs one hash lookup (its client) and two array lookups, which the kernel compiles into
// additions. Requests without an answer stand in an array of sets of four, the oldest of a set
// giving way: an LRU without the spin lock of the kernel's, whose evictions are counted exactly.
#ifndef DRIFTLOCK_BPF_LOCK_RECORD_H
#define DRIFTLOCK_BPF_LOCK_RECORD_H

#include "bpf/lock_packet.bpf.h"

const volatile uint32_t sample_every = 64;  // 0: no events
const volatile uint32_t flight_set_bits = 12;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);  // the reader counts what is there without a system call each
  __uint(max_entries, 4096);
  __type(key, uint32_t);
  __type(value, struct probe_flight_set);
} flights SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, struct probe_client_key);
  __type(value, struct probe_client);
} clients SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct probe_counters);
} counters SEC(".maps");

// A new client's value: too large for the stack of a BPF program. Never written.
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct probe_client);
} blank_client SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 256 * 1024);
} events SEC(".maps");

static __always_inline struct probe_counters* counters_here(void) {
  const uint32_t zero = 0;
  return bpf_map_lookup_elem(&counters, &zero);
}

static __always_inline struct probe_client* add_client(const struct lock_packet* packet,
                                                       struct probe_counters* counts,
                                                       uint64_t now) {
  const uint32_t zero = 0;
  const void* blank = bpf_map_lookup_elem(&blank_client, &zero);
  if (!blank) return 0;
  if (!bpf_map_update_elem(&clients, &packet->client, blank, BPF_NOEXIST)) ++counts->clients_added;
  struct probe_client* client = bpf_map_lookup_elem(&clients, &packet->client);
  if (!client) {
    ++counts->clients_refused;
  } else if (!client->first_ns) {
    client->first_ns = now;
    client->clock = PROBE_CLOCK_MONOTONIC;
  }
  return client;
}

// Null where the map took no more.
static __always_inline struct probe_client* client_of(const struct lock_packet* packet,
                                                      struct probe_counters* counts, uint64_t now) {
  struct probe_client* client = bpf_map_lookup_elem(&clients, &packet->client);
  if (!client) client = add_client(packet, counts, now);
  if (!client || packet->op == PROBE_WIRE_OP_OPEN) return client;
  if (client->session_id != packet->session_id) {
    client->session_id = packet->session_id;
    client->node_ipv4 = packet->node_ipv4;
    client->node_port = packet->node_port;
  }
  return client;
}

// Names a flight: client and nonce, mixed so that neighbours fall into different sets.
static __always_inline uint64_t flight_tag(const struct lock_packet* packet) {
  const uint64_t client = (uint64_t)packet->client.ipv4 << 16 | packet->client.udp_port;
  uint64_t tag = (packet->nonce ^ client * 0x9E3779B97F4A7C15ULL) * 0xD6E8FEB86659FD93ULL;
  tag = (tag ^ tag >> 32) * 0xD6E8FEB86659FD93ULL;
  return tag ? tag : 1;
}

static __always_inline struct probe_flight_set* flight_set(uint64_t tag) {
  const uint32_t index = tag >> (64 - flight_set_bits);
  return bpf_map_lookup_elem(&flights, &index);
}

// A datagram seen twice keeps its first time: what the client waits for is counted from there.
static __always_inline void on_request(uint64_t tag, struct probe_flight_set* set,
                                       struct probe_client* client, struct probe_counters* counts,
                                       uint64_t now) {
  volatile struct probe_flight* victim = &set->way[0];
  uint64_t oldest = ~0ULL;
#pragma unroll
  for (int i = 0; i < PROBE_FLIGHT_WAYS; ++i) {
    volatile struct probe_flight* way = &set->way[i];
    const uint64_t there = way->tag;
    if (there == tag) {
      ++counts->repeats;
      __sync_fetch_and_add(&client->repeats, 1);
      return;
    }
    const uint64_t since = there ? way->started_ns : 0;
    if (since < oldest) {
      oldest = since;
      victim = way;
    }
  }
  // Empty while its time changes, so that the flight it was cannot be answered with the new time.
  if (__sync_lock_test_and_set(&victim->tag, 0)) ++counts->flights_evicted;
  victim->started_ns = now;
  victim->tag = tag;
  ++counts->flights_added;
  ++counts->requests;
  __sync_fetch_and_add(&client->requests, 1);
  client->last_request_ns = now;
}

static __always_inline void sample(const struct lock_packet* packet, struct probe_counters* counts,
                                   uint64_t latency_ns, uint64_t now) {
  if (!sample_every || ++counts->since_event < sample_every) return;
  counts->since_event = 0;
  struct probe_event* event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
  if (!event) {
    ++counts->events_lost;
    return;
  }
  event->time_ns = now;
  event->latency_ns = latency_ns;
  event->session_id = packet->session_id;
  event->nonce = packet->nonce;
  event->client = packet->client;
  event->kind = packet->kind;
  event->op = packet->op;
  event->op_count = packet->op_count;
  event->clock = PROBE_CLOCK_MONOTONIC;
  event->reserved = 0;
  ++counts->events;
  // The reader looks by itself now and then; waking it would cost more than the event.
  bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

// When the flight began, and it is over; 0 where there is none. Of two replies at once (two
// processors, one nonce) the one that takes the tag counts.
static __always_inline uint64_t take_flight(uint64_t tag, struct probe_flight_set* set) {
#pragma unroll
  for (int i = 0; i < PROBE_FLIGHT_WAYS; ++i) {
    volatile struct probe_flight* way = &set->way[i];
    if (way->tag != tag) continue;
    const uint64_t started_ns = way->started_ns;
    return __sync_val_compare_and_swap(&way->tag, tag, 0) == tag ? started_ns : 0;
  }
  return 0;
}

static __always_inline void on_reply(const struct lock_packet* packet, uint64_t tag,
                                     struct probe_flight_set* set, struct probe_client* client,
                                     struct probe_counters* counts, uint64_t now) {
  const uint64_t started_ns = take_flight(tag, set);
  if (!started_ns) {
    ++counts->unmatched;
    __sync_fetch_and_add(&client->unmatched, 1);
    return;
  }
  const uint64_t latency_ns = now > started_ns ? now - started_ns : 0;
  const uint64_t bucket = probe_bucket_of(latency_ns);
  ++counts->flights_removed;
  ++counts->replies;
  __sync_fetch_and_add(&client->latency_sum_ns, latency_ns);
  if (bucket < PROBE_BUCKETS) __sync_fetch_and_add(&client->buckets[bucket], 1);
  client->last_reply_ns = now;
  if (packet->kind == PROBE_WIRE_KIND_ERROR) {
    ++counts->errors;
    __sync_fetch_and_add(&client->errors, 1);
  }
  sample(packet, counts, latency_ns, now);
}

static __always_inline void record_lock(const struct lock_packet* packet) {
  struct probe_counters* counts = counters_here();
  if (!counts) return;
  const uint64_t now = bpf_ktime_get_ns();
  struct probe_client* client = client_of(packet, counts, now);
  if (!client) return;
  if (packet->kind == PROBE_WIRE_KIND_PUSH) {
    ++counts->pushes;
    __sync_fetch_and_add(&client->pushes, 1);
    return;
  }
  const uint64_t tag = flight_tag(packet);
  struct probe_flight_set* set = flight_set(tag);
  if (!set) return;
  if (packet->kind == PROBE_WIRE_KIND_REQUEST) {
    on_request(tag, set, client, counts, now);
  } else {
    on_reply(packet, tag, set, client, counts, now);
  }
}

// Where replies do not pass the kernel: requests are counted, and nothing waits for an answer.
static __always_inline void record_arrival(const struct lock_packet* packet) {
  struct probe_counters* counts = counters_here();
  if (!counts) return;
  const uint64_t now = bpf_ktime_get_ns();
  struct probe_client* client = client_of(packet, counts, now);
  if (!client) return;
  ++counts->requests;
  __sync_fetch_and_add(&client->requests, 1);
  client->last_request_ns = now;
}

static __always_inline void count_verdict(enum lock_verdict verdict) {
  struct probe_counters* counts = counters_here();
  if (!counts) return;
  if (verdict == LOCK_MALFORMED) ++counts->malformed;
  if (verdict == LOCK_FRAGMENT) ++counts->fragments;
  if (verdict == LOCK_SHORT) ++counts->unreadable;
}

#endif
