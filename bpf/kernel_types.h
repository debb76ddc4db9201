// The few kernel types that the probe needs, instead of a generated vmlinux.h: CO-RE relocates each
// field by name (preserve_access_index), so that only the fields used are named here. Kernel side
// only. Source: the kernel's uapi/linux/bpf.h.
#ifndef DRIFTLOCK_BPF_KERNEL_TYPES_H
#define DRIFTLOCK_BPF_KERNEL_TYPES_H

#include <stdint.h>

// The names that bpf_helpers.h expects.
typedef uint8_t __u8;
typedef uint16_t __u16;
typedef uint32_t __u32;
typedef uint64_t __u64;
typedef int32_t __s32;
typedef int64_t __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

struct __sk_buff {
  __u32 len;
  __u32 data;
  __u32 data_end;
} __attribute__((preserve_access_index));

struct xdp_md {
  __u32 data;
  __u32 data_end;
  __u32 rx_queue_index;
} __attribute__((preserve_access_index));

enum bpf_map_type {
  BPF_MAP_TYPE_ARRAY = 2,
  BPF_MAP_TYPE_PERCPU_ARRAY = 6,
  BPF_MAP_TYPE_LRU_HASH = 9,
  BPF_MAP_TYPE_XSKMAP = 17,
  BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_MMAPABLE = 1 << 10 };
enum { BPF_RB_NO_WAKEUP = 1 };
enum { TC_ACT_UNSPEC = -1 };
enum { XDP_PASS = 2 };

#endif
