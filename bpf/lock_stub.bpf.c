// What DPDK's AF_XDP driver is given to load (its argument xdp_prog): hands everything to the
// sockets. The driver puts its sockets into xsks_map; the probe then takes its place with a program
// of the same map that also counts (lock_steer).
#include "bpf/kernel_types.h"

#include <bpf/bpf_helpers.h>

#include "bpf/lock_probe.h"

char stub_license[] SEC("license") = "Dual BSD/GPL";

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, PROBE_QUEUES_MAX);
  __type(key, uint32_t);
  __type(value, uint32_t);
} xsks_map SEC(".maps");

SEC("xdp")
int lock_stub(struct xdp_md* frame) {
  return bpf_redirect_map(&xsks_map, frame->rx_queue_index, XDP_PASS);
}
