// driftlock's probe. It tells requests and replies apart by the header's kind, so the same programs
// serve at a node (requests come in) and at a client (requests go out). They only watch: every
// packet passes.
//   lock_probe  tc, clsact, ingress and egress
//   lock_xdp    XDP, in place of tc's ingress
//   lock_steer  XDP of an interface that driftlockd drives by AF_XDP: counts what arrives and hands
//               to the socket what is the node's; the rest is the kernel's (PTP, for one). What the
//               node sends passes no hook of the kernel's.
#include "bpf/lock_record.bpf.h"

char probe_license[] SEC("license") = "Dual BSD/GPL";

// The map of AF_XDP sockets, filled by DPDK's driver under this name.
struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, PROBE_QUEUES_MAX);
  __type(key, uint32_t);
  __type(value, uint32_t);
} xsks_map SEC(".maps");

// Some drivers leave all but the Ethernet header in pages: what is looked at is then brought in.
static __always_inline enum lock_verdict find_after_pull(struct __sk_buff* skb,
                                                         struct lock_packet* packet) {
  const uint32_t wanted = skb->len < LOOKED_AT_MAX ? skb->len : LOOKED_AT_MAX;
  if (bpf_skb_pull_data(skb, wanted)) return LOCK_SHORT;
  const enum lock_verdict verdict =
      find_lock((const uint8_t*)(long)skb->data, (const uint8_t*)(long)skb->data_end, packet);
  // With all of it at hand, what is still too short is no lock datagram.
  return verdict == LOCK_SHORT ? LOCK_OTHER : verdict;
}

SEC("tc")
int lock_probe(struct __sk_buff* skb) {
  struct lock_packet packet;
  enum lock_verdict verdict =
      find_lock((const uint8_t*)(long)skb->data, (const uint8_t*)(long)skb->data_end, &packet);
  if (verdict == LOCK_OTHER) return TC_ACT_UNSPEC;
  if (verdict == LOCK_SHORT) verdict = find_after_pull(skb, &packet);
  if (verdict == LOCK_FOUND) {
    record_lock(&packet);
  } else if (verdict != LOCK_OTHER) {
    count_verdict(verdict);
  }
  return TC_ACT_UNSPEC;
}

SEC("xdp")
int lock_xdp(struct xdp_md* frame) {
  struct lock_packet packet;
  const enum lock_verdict verdict =
      find_lock((const uint8_t*)(long)frame->data, (const uint8_t*)(long)frame->data_end, &packet);
  if (verdict == LOCK_FOUND) {
    record_lock(&packet);
  } else if (verdict != LOCK_OTHER) {
    count_verdict(verdict);
  }
  return XDP_PASS;
}

SEC("xdp")
int lock_steer(struct xdp_md* frame) {
  struct lock_packet packet;
  const enum lock_verdict verdict =
      find_lock((const uint8_t*)(long)frame->data, (const uint8_t*)(long)frame->data_end, &packet);
  if (verdict == LOCK_FOUND) {
    if (packet.kind == PROBE_WIRE_KIND_REQUEST) record_arrival(&packet);
  } else if (verdict != LOCK_OTHER) {
    count_verdict(verdict);
  } else if (!is_for_neighbours((const uint8_t*)(long)frame->data,
                                (const uint8_t*)(long)frame->data_end)) {
    return XDP_PASS;  // such as PTP, which is ptp4l's
  }
  // A queue without a socket keeps the kernel.
  return bpf_redirect_map(&xsks_map, frame->rx_queue_index, XDP_PASS);
}
