// What a packet costs the probe, for BPF_PROG_TEST_RUN, which runs a program many times over one
// packet. The packet has to change, or the second request would be a repeat: `cost_shape` only
// makes it the next request or reply, `cost_tc` and `cost_xdp` then do what the probe does with it,
// and the difference is the probe's. Never attached to anything.
#include "bpf/lock_record.bpf.h"

char cost_license[] SEC("license") = "Dual BSD/GPL";

uint64_t turn;  // of the one processor that runs this

enum { COST_CLIENTS_MASK = 63 };

// Request, reply, request, reply, of 64 clients in turn. Source and destination are the same here,
// so that one field makes it either.
static __always_inline void shape(uint8_t* data, const uint8_t* end) {
  struct ipv4_header* ip = (struct ipv4_header*)(data + ETHERNET_BYTES);
  struct udp_and_lock_header* header = (struct udp_and_lock_header*)(ip + 1);
  if ((const uint8_t*)(header + 1) > end) return;
  const uint64_t pair = turn >> 1;
  header->kind = turn & 1;
  header->nonce = pair * 0x9E3779B97F4A7C15ULL;
  ip->source = ip->destination = bpf_htonl(0x0A000000 | (pair & COST_CLIENTS_MASK));
  ++turn;
}

SEC("tc")
int cost_empty(struct __sk_buff* skb) {
  (void)skb;
  return TC_ACT_UNSPEC;
}

// A packet that is none of the probe's, as most are.
SEC("tc")
int cost_other(struct __sk_buff* skb) {
  struct lock_packet packet;
  if (find_lock((const uint8_t*)(long)skb->data, (const uint8_t*)(long)skb->data_end, &packet) ==
      LOCK_FOUND) {
    record_lock(&packet);
  }
  return TC_ACT_UNSPEC;
}

SEC("tc")
int cost_shape(struct __sk_buff* skb) {
  shape((uint8_t*)(long)skb->data, (const uint8_t*)(long)skb->data_end);
  return TC_ACT_UNSPEC;
}

SEC("tc")
int cost_tc(struct __sk_buff* skb) {
  struct lock_packet packet;
  shape((uint8_t*)(long)skb->data, (const uint8_t*)(long)skb->data_end);
  if (find_lock((const uint8_t*)(long)skb->data, (const uint8_t*)(long)skb->data_end, &packet) ==
      LOCK_FOUND) {
    record_lock(&packet);
  }
  return TC_ACT_UNSPEC;
}

SEC("xdp")
int cost_shape_xdp(struct xdp_md* frame) {
  shape((uint8_t*)(long)frame->data, (const uint8_t*)(long)frame->data_end);
  return XDP_PASS;
}

SEC("xdp")
int cost_xdp(struct xdp_md* frame) {
  struct lock_packet packet;
  shape((uint8_t*)(long)frame->data, (const uint8_t*)(long)frame->data_end);
  if (find_lock((const uint8_t*)(long)frame->data, (const uint8_t*)(long)frame->data_end,
                &packet) == LOCK_FOUND) {
    record_lock(&packet);
  }
  return XDP_PASS;
}
