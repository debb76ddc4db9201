// Probe: owns the kernel-side lock probe (lock_probe.bpf.c) on one interface, from loading to the
// removal of its filters. Owned and read by one thread (the predictor's); the kernel writes the
// maps. It takes away what it brought and nothing else: the clsact queue only where it made it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "bpf/lock_probe.h"
#include "src/base/result.hpp"

struct lock_probe_bpf;
struct ring_buffer;

namespace driftlock {

struct ProbeOptions {
  std::uint16_t udp_port = 4780;
  std::uint32_t clients_max = 4096;   // about 1.9 KB of kernel memory each
  std::uint32_t flights_max = 16384;  // requests without an answer yet
  std::uint32_t sample_every = 64;    // one event in so many replies, per processor; 0 = none
};

// Latency in the log2 histogram of lock_probe.h. A quantile is off by at most 3.2%.
struct ProbeHistogram {
  std::uint64_t count = 0;
  double sum_ns = 0.0;
  std::vector<std::uint32_t> buckets = std::vector<std::uint32_t>(PROBE_BUCKETS);

  [[nodiscard]] double quantile_ns(double quantile) const;
  void add(const ProbeHistogram& other);
};

// One client as the probe saw it since the last reading (`recent`) and since it appeared.
struct ProbeClient {
  std::uint32_t ipv4 = 0;  // host byte order
  std::uint16_t udp_port = 0;
  std::uint64_t session_id = 0;
  std::uint64_t requests = 0;
  std::uint64_t repeats = 0;
  std::uint64_t replies = 0;
  std::uint64_t unmatched = 0;
  std::uint64_t errors = 0;
  std::uint64_t pushes = 0;
  std::uint64_t recent_requests = 0;
  std::uint64_t last_request_ns = 0;  // CLOCK_MONOTONIC
  std::uint64_t last_reply_ns = 0;
  ProbeHistogram total;
  ProbeHistogram recent;
};

struct ProbeTotals {
  probe_counters counters{};
  std::uint64_t flights_present = 0;
  std::uint64_t flights_evicted = 0;
  std::uint64_t clients_present = 0;
  std::uint64_t clients_evicted = 0;
};

// What the kernel says a packet costs. Counted only where kernel.bpf_stats_enabled is 1.
struct ProbeCost {
  std::uint64_t runs = 0;
  std::uint64_t run_time_ns = 0;
};

class Probe {
 public:
  // Both directions of the interface; of loopback the outgoing one alone, where every packet passes
  // once. Needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root.
  [[nodiscard]] static Result<std::unique_ptr<Probe>> attach(const std::string& interface,
                                                             const ProbeOptions& options);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  [[nodiscard]] std::vector<ProbeClient> read_clients();
  [[nodiscard]] ProbeTotals read_totals() const;
  [[nodiscard]] ProbeCost read_cost() const;
  // Hands each event that waits in the ring to `take`; never blocks. Returns how many.
  std::size_t take_events(const std::function<void(const probe_event&)>& take);

  [[nodiscard]] const std::string& interface() const { return interface_; }

 private:
  struct Attachment {
    int point = 0;
    std::uint32_t handle = 0;
    std::uint32_t priority = 0;
  };

  struct LastReading {
    std::uint64_t requests = 0;
    std::uint64_t replies = 0;
    std::uint64_t latency_sum_ns = 0;
    std::vector<std::uint32_t> buckets = std::vector<std::uint32_t>(PROBE_BUCKETS);
  };
  static ProbeClient describe(const probe_client_key& key, const probe_client& value,
                              const LastReading& last);

  Probe(std::string interface, int interface_index, lock_probe_bpf* skeleton);
  Status load(const ProbeOptions& options);
  Status attach_filters(std::uint16_t udp_port);
  Status attach_filter(int point, std::uint16_t udp_port);
  void detach_filters();

  const std::string interface_;
  const int interface_index_;
  lock_probe_bpf* const skeleton_;
  ring_buffer* ring_ = nullptr;
  bool made_hook_ = false;
  std::vector<Attachment> attached_;
  std::function<void(const probe_event&)> take_;
  std::unordered_map<std::uint64_t, LastReading> last_;  // by client
};

}  // namespace driftlock
