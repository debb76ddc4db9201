// ProbeMaps: what the kernel side of the probe has counted, read from its maps. Owned and read by
// one thread; the kernel writes meanwhile, so that numbers of one reading may differ by the packets
// that came in between. The maps belong to the loaded object, which outlives this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "bpf/lock_probe.h"
#include "src/base/result.hpp"

struct ring_buffer;

namespace driftlock {

// Latency in the log2 histogram of lock_probe.h. A quantile is off by at most 3.2%.
struct ProbeHistogram {
  std::uint64_t count = 0;
  double sum_ns = 0.0;
  std::vector<std::uint32_t> buckets = std::vector<std::uint32_t>(PROBE_BUCKETS);

  [[nodiscard]] double quantile_ns(double quantile) const;
  void add(const ProbeHistogram& other);
};

// Counts of one client, since it appeared or since the last reading.
struct ProbeCounts {
  std::uint64_t requests = 0;
  std::uint64_t repeats = 0;
  std::uint64_t replies = 0;
  std::uint64_t unmatched = 0;
  std::uint64_t errors = 0;
  std::uint64_t pushes = 0;

  [[nodiscard]] ProbeCounts since(const ProbeCounts& before) const;
};

// One client as the probe saw it since the last reading (`recent`) and since it appeared.
struct ProbeClient {
  std::uint32_t ipv4 = 0;  // host byte order
  std::uint16_t udp_port = 0;
  std::uint64_t session_id = 0;
  std::uint32_t node_ipv4 = 0;
  std::uint16_t node_port = 0;
  std::uint8_t clock = PROBE_CLOCK_MONOTONIC;  // of the times below
  std::uint64_t last_request_ns = 0;
  std::uint64_t last_reply_ns = 0;
  ProbeCounts counts;
  ProbeCounts recent_counts;
  ProbeHistogram total;
  ProbeHistogram recent;
};

struct ProbeTotals {
  probe_counters counters{};
  std::uint64_t flights_present = 0;
  std::uint64_t clients_present = 0;
  std::uint64_t clients_evicted = 0;
};

class ProbeMaps {
 public:
  struct Descriptors {
    int clients = -1;
    int flights = -1;
    int counters = -1;
    int events = -1;
    std::uint32_t clients_max = 0;
    std::uint32_t flight_sets = 0;
  };
  [[nodiscard]] static Result<std::unique_ptr<ProbeMaps>> open(const Descriptors& maps);
  ~ProbeMaps();
  ProbeMaps(const ProbeMaps&) = delete;
  ProbeMaps& operator=(const ProbeMaps&) = delete;

  [[nodiscard]] std::vector<ProbeClient> read_clients();
  [[nodiscard]] ProbeTotals read_totals() const;
  // Hands each event that waits in the ring to `take`; never blocks. Returns how many.
  std::size_t take_events(const std::function<void(const probe_event&)>& take);

 private:
  struct LastReading {
    ProbeCounts counts;
    double latency_sum_ns = 0.0;
    std::vector<std::uint32_t> buckets = std::vector<std::uint32_t>(PROBE_BUCKETS);
  };
  static ProbeClient describe(const probe_client_key& key, const probe_client& value);
  static void subtract(const LastReading& last, ProbeClient& client);

  explicit ProbeMaps(const Descriptors& maps) : maps_(maps) {}
  [[nodiscard]] std::uint64_t count_flights() const;

  const Descriptors maps_;
  const probe_flight_set* flights_ = nullptr;  // mapped; null where the kernel would not
  ring_buffer* ring_ = nullptr;
  std::function<void(const probe_event&)> take_;
  std::unordered_map<std::uint64_t, LastReading> last_;  // by client
};

}  // namespace driftlock
