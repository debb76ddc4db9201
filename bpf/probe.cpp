#include "bpf/probe.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "bpf/steering.hpp"
#include "lock_probe.skel.h"

namespace driftlock {
namespace {

// A place in the interface's list of filters that is ours: a probe left behind by a daemon that was
// killed is replaced by the next one on that port, not joined by it.
constexpr std::uint32_t kFilterPriority = 47800;

Error failed(const std::string& what, int error) {
  std::string advice;
  if (error == EPERM || error == EACCES) {
    advice = "; run as root or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN";
  } else if (error == ENODEV || error == ENXIO) {
    advice = "; see the interfaces with `ip link`";
  } else if (error == EBUSY) {
    advice =
        "; another XDP program is there: take it away with `ip link set IF xdp off`, or use tc";
  }
  return Error{"probe: " + what + ": " + std::strerror(error) + advice};
}

constexpr int kEthernet = 1;    // ARPHRD_ETHER
constexpr int kLoopback = 772;  // ARPHRD_LOOPBACK

int type_of(const std::string& interface) {
  const std::string path = "/sys/class/net/" + interface + "/type";
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return kEthernet;  // no sysfs here; if it is none, nothing is found
  int type = 0;
  const bool read = std::fscanf(file, "%d", &type) == 1;
  std::fclose(file);
  return read ? type : kEthernet;
}

}  // namespace

const char* to_string(ProbeHook hook) {
  switch (hook) {
    case ProbeHook::kTc:
      return "tc";
    case ProbeHook::kXdp:
      return "xdp";
    case ProbeHook::kSteer:
      return "steer";
  }
  return "unknown";
}

Probe::Probe(std::string interface, int interface_index, ProbeHook hook, lock_probe_bpf* skeleton)
    : interface_(std::move(interface)),
      interface_index_(interface_index),
      hook_(hook),
      skeleton_(skeleton) {}

Probe::~Probe() {
  detach_filters();
  bpf_link__destroy(link_);
  maps_.reset();
  lock_probe_bpf__destroy(skeleton_);
}

Result<std::unique_ptr<Probe>> Probe::open(const std::string& interface, ProbeHook hook) {
  const unsigned index = if_nametoindex(interface.c_str());
  if (index == 0) return failed("interface '" + interface + "'", errno);
  libbpf_set_print(nullptr);
  lock_probe_bpf* skeleton = lock_probe_bpf__open();
  if (skeleton == nullptr) return failed("opening the BPF object", errno);
  std::unique_ptr<Probe> probe(new Probe(interface, static_cast<int>(index), hook, skeleton));
  bpf_program__set_autoload(skeleton->progs.lock_probe, hook != ProbeHook::kSteer);
  bpf_program__set_autoload(skeleton->progs.lock_xdp, hook == ProbeHook::kXdp);
  bpf_program__set_autoload(skeleton->progs.lock_steer, hook == ProbeHook::kSteer);
  bpf_map__set_autocreate(skeleton->maps.xsks_map, hook == ProbeHook::kSteer);
  return probe;
}

Result<std::unique_ptr<Probe>> Probe::attach(const std::string& interface,
                                             const ProbeOptions& options) {
  const int type = type_of(interface);
  if (type != kEthernet && type != kLoopback) {
    return Error{"probe: '" + interface +
                 "' has no Ethernet header; name the interface that carries it"};
  }
  if (type == kLoopback && options.hook == ProbeHook::kXdp) {
    return Error{"probe: loopback has no XDP; use tc"};
  }
  Result<std::unique_ptr<Probe>> opened = open(interface, options.hook);
  if (!opened.ok()) return opened;
  std::unique_ptr<Probe> probe = std::move(opened).value();
  if (Status loaded = probe->load(options); !loaded) return loaded.error();
  if (options.hook == ProbeHook::kXdp) {
    if (Status in = probe->attach_xdp(probe->skeleton_->progs.lock_xdp); !in) return in.error();
  }
  if (Status attached = probe->attach_filters(options.udp_port); !attached) {
    return attached.error();
  }
  return probe;
}

Result<std::unique_ptr<Probe>> Probe::steer(const std::string& interface,
                                            const ProbeOptions& options) {
  Result<std::unique_ptr<Probe>> opened = open(interface, ProbeHook::kSteer);
  if (!opened.ok()) return opened;
  std::unique_ptr<Probe> probe = std::move(opened).value();
  const int sockets = steering::find_sockets_map();
  if (sockets < 0) return Error{"probe: the AF_XDP driver has not loaded the steering program"};
  if (bpf_map__reuse_fd(probe->skeleton_->maps.xsks_map, sockets) != 0) {
    return failed("sharing the driver's map of sockets", errno);
  }
  if (Status loaded = probe->load(options); !loaded) return loaded.error();
  if (Status placed = probe->replace_stub(probe->skeleton_->progs.lock_steer); !placed) {
    return placed.error();
  }
  return probe;
}

Status Probe::load(const ProbeOptions& options) {
  const std::uint32_t sets = std::bit_ceil(
      std::max(2U, (options.flights_max + PROBE_FLIGHT_WAYS - 1) / PROBE_FLIGHT_WAYS));
  skeleton_->rodata->udp_port = options.udp_port;
  skeleton_->rodata->udp_ports = options.udp_ports;
  skeleton_->rodata->sample_every = options.sample_every;
  skeleton_->rodata->flight_set_bits = static_cast<std::uint32_t>(std::countr_zero(sets));
  int error = bpf_map__set_max_entries(skeleton_->maps.clients, options.clients_max);
  if (error == 0) error = bpf_map__set_max_entries(skeleton_->maps.flights, sets);
  if (error != 0) return failed("sizing the maps", -error);
  if (error = lock_probe_bpf__load(skeleton_); error != 0) {
    return failed("loading the BPF program (a kernel of 5.12 or later with BTF is needed)", -error);
  }
  Result<std::unique_ptr<ProbeMaps>> maps =
      ProbeMaps::open({bpf_map__fd(skeleton_->maps.clients), bpf_map__fd(skeleton_->maps.flights),
                       bpf_map__fd(skeleton_->maps.counters), bpf_map__fd(skeleton_->maps.events),
                       bpf_map__max_entries(skeleton_->maps.clients), sets});
  if (!maps.ok()) return maps.error();
  maps_ = std::move(maps).value();
  return done();
}

Status Probe::attach_xdp(const bpf_program* program) {
  link_ = bpf_program__attach_xdp(program, interface_index_);
  if (link_ == nullptr) return failed("attaching XDP to '" + interface_ + "'", errno);
  return done();
}

// The stub is attached by netlink, which a link cannot replace: for a moment there is neither, and
// the kernel gets what arrives. The link goes with this process, even when that is killed.
Status Probe::replace_stub(const bpf_program* program) {
  DECLARE_LIBBPF_OPTS(bpf_xdp_attach_opts, options);
  options.old_prog_fd = steering::find_stub_program();
  constexpr std::uint32_t kReplace = 1U << 4;  // XDP_FLAGS_REPLACE: only if it is still the stub
  const int error = bpf_xdp_detach(interface_index_, kReplace, &options);
  if (error != 0) return failed("taking the stub's place on '" + interface_ + "'", -error);
  return attach_xdp(program);
}

Status Probe::attach_filters(std::uint16_t udp_port) {
  DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook);
  hook.ifindex = interface_index_;
  hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  const int error = bpf_tc_hook_create(&hook);
  if (error != 0 && error != -EEXIST) {
    return failed("adding clsact to '" + interface_ + "'", -error);
  }
  made_hook_ = error == 0;
  if (hook_ == ProbeHook::kTc && type_of(interface_) != kLoopback) {
    if (Status ingress = attach_filter(BPF_TC_INGRESS, udp_port); !ingress) return ingress;
  }
  return attach_filter(BPF_TC_EGRESS, udp_port);
}

Status Probe::attach_filter(int point, std::uint16_t udp_port) {
  DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook);
  hook.ifindex = interface_index_;
  hook.attach_point = static_cast<bpf_tc_attach_point>(point);
  DECLARE_LIBBPF_OPTS(bpf_tc_opts, options);
  options.prog_fd = bpf_program__fd(skeleton_->progs.lock_probe);
  options.handle = udp_port;
  options.priority = kFilterPriority;
  options.flags = BPF_TC_F_REPLACE;
  if (const int error = bpf_tc_attach(&hook, &options); error != 0) {
    return failed("attaching to '" + interface_ + "'", -error);
  }
  attached_.push_back({point, options.handle, options.priority});
  return done();
}

void Probe::detach_filters() {
  for (const Attachment& attachment : attached_) {
    DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook);
    hook.ifindex = interface_index_;
    hook.attach_point = static_cast<bpf_tc_attach_point>(attachment.point);
    DECLARE_LIBBPF_OPTS(bpf_tc_opts, options);
    options.handle = attachment.handle;
    options.priority = attachment.priority;
    bpf_tc_detach(&hook, &options);
  }
  attached_.clear();
  if (!made_hook_) return;
  DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook);
  hook.ifindex = interface_index_;
  hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  bpf_tc_hook_destroy(&hook);
  made_hook_ = false;
}

ProbeCost Probe::read_cost() const {
  ProbeCost cost;
  for (const bpf_program* program :
       {skeleton_->progs.lock_probe, skeleton_->progs.lock_xdp, skeleton_->progs.lock_steer}) {
    bpf_prog_info info{};
    std::uint32_t size = sizeof(info);
    const int descriptor = bpf_program__fd(program);
    if (descriptor < 0 || bpf_obj_get_info_by_fd(descriptor, &info, &size) != 0) continue;
    cost.runs += info.run_cnt;
    cost.run_time_ns += info.run_time_ns;
  }
  return cost;
}

}  // namespace driftlock
