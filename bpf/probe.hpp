// Probe: owns the kernel-side lock probe (lock_probe.bpf.c) on one interface, from loading to the
// removal of its programs. Owned and read by one thread (the predictor's); the kernel writes the
// maps. It takes away what it brought and nothing else: the clsact queue only where it made it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bpf/lock_probe.h"
#include "bpf/probe_maps.hpp"
#include "src/base/result.hpp"

struct bpf_link;
struct bpf_program;
struct lock_probe_bpf;

namespace driftlock {

enum class ProbeHook : std::uint8_t {
  kTc,     // both ways by tc
  kXdp,    // in by XDP, out by tc
  kSteer,  // in by the XDP program that feeds an AF_XDP socket; what goes out cannot be seen
};
const char* to_string(ProbeHook hook);

struct ProbeOptions {
  ProbeHook hook = ProbeHook::kTc;  // or kXdp
  std::uint16_t udp_port = 4780;
  std::uint16_t udp_ports = 1;       // from udp_port up
  std::uint32_t clients_max = 4096;  // about 1.9 KB of kernel memory each
  std::uint32_t flights_max =
      16384;                        // requests without an answer yet; rounded up to a power of two
  std::uint32_t sample_every = 64;  // one event in so many replies, per processor; 0 = none
};

// What the kernel says a packet costs. Counted only where kernel.bpf_stats_enabled is 1, and with
// the cost of counting in it.
struct ProbeCost {
  std::uint64_t runs = 0;
  std::uint64_t run_time_ns = 0;
};

class Probe {
 public:
  // Of loopback the outgoing direction alone, where every packet passes once. Needs CAP_BPF,
  // CAP_NET_ADMIN and CAP_PERFMON, or root.
  [[nodiscard]] static Result<std::unique_ptr<Probe>> attach(const std::string& interface,
                                                             const ProbeOptions& options);
  // On an interface that DPDK's AF_XDP driver has taken with SteeringStub's argument, in this
  // process: takes the stub's place. To be destroyed before the port is, or with it.
  [[nodiscard]] static Result<std::unique_ptr<Probe>> steer(const std::string& interface,
                                                            const ProbeOptions& options);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  [[nodiscard]] std::vector<ProbeClient> read_clients() { return maps_->read_clients(); }
  [[nodiscard]] ProbeTotals read_totals() const { return maps_->read_totals(); }
  [[nodiscard]] ProbeCost read_cost() const;
  std::size_t take_events(const std::function<void(const probe_event&)>& take) {
    return maps_->take_events(take);
  }

  [[nodiscard]] const std::string& interface() const { return interface_; }
  [[nodiscard]] ProbeHook hook() const { return hook_; }
  [[nodiscard]] bool sees_replies() const { return hook_ != ProbeHook::kSteer; }

 private:
  struct Attachment {
    int point = 0;
    std::uint32_t handle = 0;
    std::uint32_t priority = 0;
  };

  [[nodiscard]] static Result<std::unique_ptr<Probe>> open(const std::string& interface,
                                                           ProbeHook hook);
  Probe(std::string interface, int interface_index, ProbeHook hook, lock_probe_bpf* skeleton);
  Status load(const ProbeOptions& options);
  Status attach_filters(std::uint16_t udp_port);
  Status attach_filter(int point, std::uint16_t udp_port);
  Status attach_xdp(const bpf_program* program);
  Status replace_stub(const bpf_program* program);
  void detach_filters();

  const std::string interface_;
  const int interface_index_;
  const ProbeHook hook_;
  lock_probe_bpf* const skeleton_;
  std::unique_ptr<ProbeMaps> maps_;
  bool made_hook_ = false;
  std::vector<Attachment> attached_;
  bpf_link* link_ = nullptr;  // XDP: goes with this process, however it ends
};

// The file that DPDK's AF_XDP driver loads when the probe is to share its interface. Keep it until
// the port is open.
class SteeringStub {
 public:
  [[nodiscard]] static Result<std::unique_ptr<SteeringStub>> make();
  ~SteeringStub();
  SteeringStub(const SteeringStub&) = delete;
  SteeringStub& operator=(const SteeringStub&) = delete;
  // To be added to "net_af_xdp0,iface=IF".
  [[nodiscard]] std::string argument() const;

 private:
  explicit SteeringStub(int descriptor) : descriptor_(descriptor) {}
  const int descriptor_;
};

}  // namespace driftlock
