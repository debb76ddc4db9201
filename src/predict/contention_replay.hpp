// ContentionReplay: a trace of lock requests against one node, in simulated time, with grants in
// advance decided by one policy. Pure; the same trace and options give the same result.
//
// The network takes half a round trip each way, the node no time. A request that finds a grant in
// advance with its client takes it at once; any other goes to the node, and takes one that meets it
// on its way. A client's requests of one
// lock queue like anybody's. A request for a lock that is another's in advance calls it back: an
// unused one is given up, a used one is released in its time. A client gives an unused grant back
// when its term has passed.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "src/predict/contention.hpp"
#include "src/predict/contention_trace.hpp"

namespace driftlock {

enum class SpeculationPolicy : std::uint8_t {
  kNone,        // never
  kLastHolder,  // always, to who had it last
  kMarkov,      // to who followed, the last time, on the one who had it last
  kOurs,        // ContentionModel
};
[[nodiscard]] const char* to_string(SpeculationPolicy policy);
[[nodiscard]] bool parse_policy(std::string_view name, SpeculationPolicy& policy);

struct ReplayOptions {
  Nanoseconds round_trip_ns = 100 * kMicrosecond;
  ContentionOptions model;
};

struct ReplayResult {
  std::uint64_t grants = 0;      // of requests
  std::uint64_t speculated = 0;  // grants in advance
  std::uint64_t hits = 0;        // used by their client without a round trip
  std::uint64_t crossed = 0;     // of these, that met a request under way
  std::uint64_t wasted = 0;      // given back unused
  std::uint64_t open = 0;        // the trace ended before their term: neither
  std::uint64_t recalled = 0;    // of these, because another asked
  std::uint64_t waited = 0;      // requests that found the lock taken
  double latency_mean_ns = 0.0;  // from asking to having
  double latency_p50_ns = 0.0;
  double latency_p99_ns = 0.0;
  double wait_mean_ns = 0.0;             // in the queue, of those who waited
  double forecast_error_ns = 0.0;        // mean absolute error of the wait forecast of these
  double forecast_naive_error_ns = 0.0;  // of (those ahead + 1) x the mean hold of all locks
  ContentionModel::Counts model;
};

// The trace is by time.
[[nodiscard]] ReplayResult replay_contention(std::span<const TraceRequest> trace,
                                             SpeculationPolicy policy,
                                             const ReplayOptions& options);

}  // namespace driftlock
