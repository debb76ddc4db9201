// Finds a lock datagram in a packet, by direct access to its bytes: no helper is called, and what
// is not UDP over IPv4 to or from the node's ports is told apart within a few instructions. Kernel
// side only; shared by the probe's programs and by the one that measures what they cost.
#ifndef DRIFTLOCK_BPF_LOCK_PACKET_H
#define DRIFTLOCK_BPF_LOCK_PACKET_H

#include "bpf/kernel_types.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/lock_probe.h"

// Set before loading, constants to the verifier.
const volatile uint16_t udp_port = 4780;  // the first of the node's ports
const volatile uint16_t udp_ports = 1;    // one for each of its lcores

enum {
  ETHERNET_BYTES = 14,
  ETHERNET_TYPE_AT = 12,
  ETHERNET_TYPE_IPV4 = 0x0800,
  ETHERNET_TYPE_ARP = 0x0806,
  ETHERNET_TYPE_VLAN = 0x8100,
  ETHERNET_TYPE_QINQ = 0x88A8,
  VLAN_BYTES = 4,
  VLAN_TAGS_MAX = 2,
  IPV4_WORDS_MIN = 5,
  IPV4_FRAGMENT_MASK = 0x3FFF,  // more fragments, or an offset
  IP_PROTOCOL_ICMP = 1,
  IP_PROTOCOL_UDP = 17,
  UDP_BYTES = 8,
  // All that is looked at, with two tags and the longest IPv4 header, and the first record's byte.
  LOOKED_AT_MAX = ETHERNET_BYTES + 2 * VLAN_BYTES + 60 + UDP_BYTES + PROBE_WIRE_HEADER_BYTES + 1,
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

// Not packed: every field lies on its own alignment, and is read by one instruction.
struct udp_and_lock_header {
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
#define HELD_AT(field, offset)                                                                  \
  _Static_assert(__builtin_offsetof(struct udp_and_lock_header, field) == UDP_BYTES + (offset), \
                 "as in wire.hpp")
HELD_AT(version, PROBE_WIRE_VERSION_AT);
HELD_AT(kind, PROBE_WIRE_KIND_AT);
HELD_AT(length, PROBE_WIRE_LENGTH_AT);
HELD_AT(session_id, PROBE_WIRE_SESSION_AT);
HELD_AT(nonce, PROBE_WIRE_NONCE_AT);
HELD_AT(op_count, PROBE_WIRE_OP_COUNT_AT);
_Static_assert(sizeof(struct udp_and_lock_header) == UDP_BYTES + PROBE_WIRE_HEADER_BYTES,
               "as in wire.hpp");

enum lock_verdict {
  LOCK_OTHER,      // not ours
  LOCK_FOUND,      // the packet is described
  LOCK_MALFORMED,  // to or from the port, but no lock datagram
  LOCK_FRAGMENT,   // to or from the port, in pieces
  LOCK_SHORT,      // IPv4, but the bytes at hand end before it can be told
};

struct lock_packet {
  struct probe_client_key client;
  uint64_t session_id;
  uint64_t nonce;
  uint32_t node_ipv4;
  uint16_t node_port;
  uint8_t kind;
  uint8_t op;  // of the first record, 0 where there is none
  uint8_t op_count;
};

static __always_inline int is_node_port(uint16_t port) {
  return (uint16_t)(bpf_ntohs(port) - udp_port) < udp_ports;
}

// Where what is of type `wanted` begins behind VLAN tags, or 0.
static __always_inline uint32_t skip_tags(const uint8_t* data, const uint8_t* end, uint16_t type,
                                          uint16_t wanted) {
  uint32_t at = ETHERNET_BYTES;
#pragma unroll
  for (int tags = 0; tags < VLAN_TAGS_MAX; ++tags) {
    if (type != bpf_htons(ETHERNET_TYPE_VLAN) && type != bpf_htons(ETHERNET_TYPE_QINQ)) break;
    if (data + at + VLAN_BYTES > end) return 0;
    type = *(const uint16_t*)(data + at + 2);
    at += VLAN_BYTES;
  }
  return type == wanted ? at : 0;
}

// What a node that owns its address has to answer besides lock datagrams: ARP and ICMP.
static __always_inline int is_for_neighbours(const uint8_t* data, const uint8_t* end) {
  if (data + ETHERNET_BYTES > end) return 0;
  const uint16_t type = *(const uint16_t*)(data + ETHERNET_TYPE_AT);
  if (skip_tags(data, end, type, bpf_htons(ETHERNET_TYPE_ARP))) return 1;
  const uint32_t at = skip_tags(data, end, type, bpf_htons(ETHERNET_TYPE_IPV4));
  const struct ipv4_header* ip = (const struct ipv4_header*)(data + at);
  if (!at || (const uint8_t*)(ip + 1) > end) return 0;
  return ip->protocol == IP_PROTOCOL_ICMP;
}

static __always_inline enum lock_verdict describe_lock(const struct ipv4_header* ip,
                                                       const struct udp_and_lock_header* header,
                                                       const uint8_t* end,
                                                       struct lock_packet* packet) {
  if (header->magic != PROBE_WIRE_MAGIC || header->version != PROBE_WIRE_VERSION ||
      header->length + UDP_BYTES != bpf_ntohs(header->udp_length)) {
    return LOCK_MALFORMED;
  }
  // Where both ends use the node's port, the kind alone decides.
  const int is_request = header->kind == PROBE_WIRE_KIND_REQUEST;
  const int from_node = is_node_port(header->source_port);
  if (from_node != is_node_port(header->destination_port) && is_request == from_node) {
    return LOCK_MALFORMED;
  }
  const uint32_t source = bpf_ntohl(ip->source);
  const uint32_t destination = bpf_ntohl(ip->destination);
  const uint16_t source_port = bpf_ntohs(header->source_port);
  const uint16_t destination_port = bpf_ntohs(header->destination_port);
  packet->client.ipv4 = is_request ? source : destination;
  packet->client.udp_port = is_request ? source_port : destination_port;
  packet->client.reserved = 0;
  packet->node_ipv4 = is_request ? destination : source;
  packet->node_port = is_request ? destination_port : source_port;
  packet->session_id = header->session_id;
  packet->nonce = header->nonce;
  packet->kind = header->kind;
  packet->op_count = header->op_count;
  packet->op = 0;
  const uint8_t* record = (const uint8_t*)(header + 1);
  if (record + 1 <= end) packet->op = *record;
  return LOCK_FOUND;
}

static __always_inline enum lock_verdict find_lock(const uint8_t* data, const uint8_t* end,
                                                   struct lock_packet* packet) {
  if (data + ETHERNET_BYTES > end) return LOCK_OTHER;
  const uint16_t type = *(const uint16_t*)(data + ETHERNET_TYPE_AT);
  uint32_t at = ETHERNET_BYTES;
  if (type != bpf_htons(ETHERNET_TYPE_IPV4)) {
    at = skip_tags(data, end, type, bpf_htons(ETHERNET_TYPE_IPV4));
    if (!at) return LOCK_OTHER;
  }
  const struct ipv4_header* ip = (const struct ipv4_header*)(data + at);
  if ((const uint8_t*)(ip + 1) > end) return LOCK_SHORT;
  if (ip->protocol != IP_PROTOCOL_UDP) return LOCK_OTHER;
  const uint32_t words = ip->version_and_words & 0xF;
  if (ip->version_and_words >> 4 != 4 || words < IPV4_WORDS_MIN) return LOCK_OTHER;

  const struct udp_and_lock_header* header =
      (const struct udp_and_lock_header*)((const uint8_t*)ip + words * 4);
  if ((const uint8_t*)header + UDP_BYTES > end) return LOCK_SHORT;
  if (!is_node_port(header->destination_port) && !is_node_port(header->source_port)) {
    return LOCK_OTHER;
  }
  if (ip->fragment & bpf_htons(IPV4_FRAGMENT_MASK)) return LOCK_FRAGMENT;
  if ((const uint8_t*)(header + 1) > end) {
    return bpf_ntohs(header->udp_length) < sizeof(*header) ? LOCK_MALFORMED : LOCK_SHORT;
  }
  return describe_lock(ip, header, end, packet);
}

#endif
