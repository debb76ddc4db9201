// driftlock's probe: a tc program (clsact, ingress and egress) that pairs each lock request with
// its reply and keeps a latency histogram per client. It tells the two apart by the header's kind,
// so the same program serves at a node (requests come in) and at a client (requests go out). It
// only watches: every packet passes. Memory is bounded by LRU maps; what they evict is counted by
// the reader as added - removed - present.
#include "bpf/kernel_types.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/lock_probe.h"

char probe_license[] SEC("license") = "Dual BSD/GPL";

const volatile uint16_t udp_port = 4780;
const volatile uint32_t sample_every = 64;  // 0: no events

enum {
  ETHERNET_BYTES = 14,
  ETHERNET_TYPE_AT = 12,
  ETHERNET_TYPE_IPV4 = 0x0800,
  ETHERNET_TYPE_VLAN = 0x8100,
  ETHERNET_TYPE_QINQ = 0x88A8,
  VLAN_BYTES = 4,
  IPV4_FRAGMENT_MASK = 0x3FFF,  // more fragments, or an offset
  IP_PROTOCOL_UDP = 17,
  ALREADY_THERE = 17,  // EEXIST
};

struct ipv4_header {
  uint8_t version_and_words;
  uint8_t service;
  uint16_t length;
  uint16_t id;
  uint16_t fragment;
  uint8_t ttl;
  uint8_t protocol;
  uint16_t checksum;
  uint32_t source;
  uint32_t destination;
};

struct __attribute__((packed)) udp_and_lock_header {
  uint16_t source_port;
  uint16_t destination_port;
  uint16_t udp_length;
  uint16_t udp_checksum;
  uint32_t magic;
  uint8_t version;
  uint8_t kind;
  uint16_t length;
  uint64_t session_id;
  uint64_t nonce;
  uint8_t times_and_clock[18];
  uint8_t op_count;
  uint8_t status;
  uint32_t epoch;
};
#define HELD_AT(field, offset)                                                          \
  _Static_assert(__builtin_offsetof(struct udp_and_lock_header, field) == 8 + (offset), \
                 "as in wire.hpp")
HELD_AT(version, PROBE_WIRE_VERSION_AT);
HELD_AT(kind, PROBE_WIRE_KIND_AT);
HELD_AT(length, PROBE_WIRE_LENGTH_AT);
HELD_AT(session_id, PROBE_WIRE_SESSION_AT);
HELD_AT(nonce, PROBE_WIRE_NONCE_AT);
HELD_AT(op_count, PROBE_WIRE_OP_COUNT_AT);
_Static_assert(sizeof(struct udp_and_lock_header) == 8 + PROBE_WIRE_HEADER_BYTES, "as in wire.hpp");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 16384);
  __type(key, struct probe_flight_key);
  __type(value, uint64_t);  // when the request was seen first, ns
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

struct lock_packet {
  struct udp_and_lock_header header;
  struct probe_client_key client;
  uint8_t op;
};

// Where the IPv4 header begins, or 0.
static __always_inline uint32_t ipv4_offset(struct __sk_buff* skb) {
  uint32_t offset = ETHERNET_BYTES;
  uint16_t type = 0;
  if (skb->protocol == bpf_htons(ETHERNET_TYPE_IPV4)) return offset;
  if (skb->protocol != bpf_htons(ETHERNET_TYPE_VLAN) &&
      skb->protocol != bpf_htons(ETHERNET_TYPE_QINQ)) {
    return 0;
  }
  if (bpf_skb_load_bytes(skb, ETHERNET_TYPE_AT, &type, sizeof(type))) return 0;
#pragma unroll
  for (int tags = 0; tags < 2; ++tags) {
    if (type != bpf_htons(ETHERNET_TYPE_VLAN) && type != bpf_htons(ETHERNET_TYPE_QINQ)) break;
    if (bpf_skb_load_bytes(skb, offset + 2, &type, sizeof(type))) return 0;
    offset += VLAN_BYTES;
  }
  return type == bpf_htons(ETHERNET_TYPE_IPV4) ? offset : 0;
}

// 1 where the packet is a driftlock datagram; `packet` is then filled.
static __always_inline int parse(struct __sk_buff* skb, struct probe_counters* counts,
                                 struct lock_packet* packet) {
  struct ipv4_header ip;
  const uint32_t ip_at = ipv4_offset(skb);
  if (!ip_at || bpf_skb_load_bytes(skb, ip_at, &ip, sizeof(ip))) return 0;
  if (ip.protocol != IP_PROTOCOL_UDP || ip.version_and_words >> 4 != 4) return 0;
  const uint32_t udp_at = ip_at + (ip.version_and_words & 0xF) * 4;

  struct udp_and_lock_header* header = &packet->header;
  if (bpf_skb_load_bytes(skb, udp_at, header, 8)) return 0;
  const uint16_t port = bpf_htons(udp_port);
  const int to_node = header->destination_port == port;
  if (!to_node && header->source_port != port) return 0;
  if (ip.fragment & bpf_htons(IPV4_FRAGMENT_MASK)) {
    ++counts->fragments;
    return 0;
  }
  if (bpf_skb_load_bytes(skb, udp_at, header, sizeof(*header)) ||
      header->magic != PROBE_WIRE_MAGIC || header->version != PROBE_WIRE_VERSION ||
      header->length + 8 != bpf_ntohs(header->udp_length)) {
    ++counts->malformed;
    return 0;
  }
  // Where both ends use the node's port, the kind alone decides.
  const int is_request = header->kind == PROBE_WIRE_KIND_REQUEST;
  if (header->source_port != header->destination_port && is_request != to_node) {
    ++counts->malformed;
    return 0;
  }
  packet->client.ipv4 = bpf_ntohl(is_request ? ip.source : ip.destination);
  packet->client.udp_port = bpf_ntohs(is_request ? header->source_port : header->destination_port);
  packet->client.reserved = 0;
  packet->op = 0;
  if (header->op_count) bpf_skb_load_bytes(skb, udp_at + sizeof(*header), &packet->op, 1);
  return 1;
}

static __always_inline struct probe_client* client_of(const struct lock_packet* packet,
                                                      struct probe_counters* counts, uint64_t now) {
  struct probe_client* client = bpf_map_lookup_elem(&clients, &packet->client);
  if (client) return client;
  const uint32_t zero = 0;
  const void* blank = bpf_map_lookup_elem(&blank_client, &zero);
  if (!blank) return 0;
  if (!bpf_map_update_elem(&clients, &packet->client, blank, BPF_NOEXIST)) ++counts->clients_added;
  client = bpf_map_lookup_elem(&clients, &packet->client);
  if (!client) {
    ++counts->clients_refused;
  } else if (!client->first_ns) {
    client->first_ns = now;
  }
  return client;
}

// A repeat keeps its first sending's time: what the client waits for is counted from there.
static __always_inline void on_request(const struct probe_flight_key* flight,
                                       struct probe_client* client, struct probe_counters* counts,
                                       uint64_t now) {
  const long error = bpf_map_update_elem(&flights, flight, &now, BPF_NOEXIST);
  if (error == -ALREADY_THERE) {
    ++counts->repeats;
    __sync_fetch_and_add(&client->repeats, 1);
    return;
  }
  if (error) {
    ++counts->flights_refused;
  } else {
    ++counts->flights_added;
  }
  ++counts->requests;
  __sync_fetch_and_add(&client->requests, 1);
  client->last_request_ns = now;
}

static __always_inline void sample(const struct lock_packet* packet, struct probe_counters* counts,
                                   uint64_t latency_ns, uint64_t now) {
  if (!sample_every || counts->replies % sample_every) return;
  struct probe_event* event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
  if (!event) {
    ++counts->events_lost;
    return;
  }
  event->time_ns = now;
  event->latency_ns = latency_ns;
  event->session_id = packet->header.session_id;
  event->nonce = packet->header.nonce;
  event->client = packet->client;
  event->kind = packet->header.kind;
  event->op = packet->op;
  event->op_count = packet->header.op_count;
  event->clock = PROBE_CLOCK_MONOTONIC;
  event->reserved = 0;
  ++counts->events;
  // The reader looks by itself now and then; waking it would cost more than the event.
  bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

static __always_inline void on_reply(const struct lock_packet* packet,
                                     const struct probe_flight_key* flight,
                                     struct probe_client* client, struct probe_counters* counts,
                                     uint64_t now) {
  const uint64_t* started = bpf_map_lookup_elem(&flights, flight);
  const uint64_t started_ns = started ? *started : 0;
  // Of two replies at once (two processors, one nonce) the one that removes the flight counts.
  if (!started || bpf_map_delete_elem(&flights, flight)) {
    ++counts->unmatched;
    __sync_fetch_and_add(&client->unmatched, 1);
    return;
  }
  const uint64_t latency_ns = now > started_ns ? now - started_ns : 0;
  const uint64_t bucket = probe_bucket_of(latency_ns);
  ++counts->flights_removed;
  ++counts->replies;
  __sync_fetch_and_add(&client->replies, 1);
  __sync_fetch_and_add(&client->latency_sum_ns, latency_ns);
  if (bucket < PROBE_BUCKETS) __sync_fetch_and_add(&client->buckets[bucket], 1);
  client->last_reply_ns = now;
  if (packet->header.kind == PROBE_WIRE_KIND_ERROR) {
    ++counts->errors;
    __sync_fetch_and_add(&client->errors, 1);
  }
  sample(packet, counts, latency_ns, now);
}

SEC("tc")
int lock_probe(struct __sk_buff* skb) {
  const uint32_t zero = 0;
  struct lock_packet packet;
  struct probe_counters* counts = bpf_map_lookup_elem(&counters, &zero);
  if (!counts || !parse(skb, counts, &packet)) return TC_ACT_UNSPEC;

  const uint64_t now = bpf_ktime_get_ns();
  struct probe_client* client = client_of(&packet, counts, now);
  if (!client) return TC_ACT_UNSPEC;
  if (packet.op != PROBE_WIRE_OP_OPEN) client->session_id = packet.header.session_id;

  const struct probe_flight_key flight = {.client = packet.client, .nonce = packet.header.nonce};
  if (packet.header.kind == PROBE_WIRE_KIND_REQUEST) {
    on_request(&flight, client, counts, now);
  } else if (packet.header.kind == PROBE_WIRE_KIND_PUSH) {
    ++counts->pushes;
    __sync_fetch_and_add(&client->pushes, 1);
  } else {
    on_reply(&packet, &flight, client, counts, now);
  }
  return TC_ACT_UNSPEC;
}
