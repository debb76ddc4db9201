// Traces of lock requests, and generators of them: Zipf, TPC-C-like and SmallBank-like, each with
// and without affinity of clients to locks. Pure: reading a file is the caller's. The same options
// and seed give the same trace.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "src/base/time.hpp"

namespace driftlock {

// At `time_ns` the client asks for the lock, exclusively; once it has it, it holds it for
// `hold_ns`.
struct TraceRequest {
  Nanoseconds time_ns = 0;
  std::uint32_t client = 0;
  std::uint64_t lock = 0;
  Nanoseconds hold_ns = 0;
};

enum class TraceKind : std::uint8_t { kZipf, kTpcc, kSmallBank };

struct TraceOptions {
  TraceKind kind = TraceKind::kZipf;
  std::uint32_t requests = 200'000;
  std::uint32_t clients = 32;
  // Zipf: locks. TPC-C-like: warehouses. SmallBank-like: customers. 0: the kind's own.
  std::uint32_t size = 0;
  double affinity = 0.98;  // share of work that goes to the client at home there; 0: to anyone
  double exponent = 0.9;   // Zipf
  double load = 0.0;       // share of time for which the busiest lock is held; 0: the kind's own
  Nanoseconds hold_ns = 500 * kMicrosecond;  // mean; of a transaction, where there are any
  double moves_per_1000 = 1.0;  // homes that move to another client, per 1000 requests: Zipf
  std::uint64_t seed = 1;
};

// False where there is no such kind.
[[nodiscard]] bool parse_trace_kind(std::string_view name, TraceKind& kind);
// By time.
[[nodiscard]] std::vector<TraceRequest> generate_trace(const TraceOptions& options);

}  // namespace driftlock
