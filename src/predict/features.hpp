// Features: a client's profile as numbers that detectors compare. Pure: time is an argument. Each
// is 0 for a client that does as it usually does and grows with the strangeness, roughly in
// standard deviations, so that one detector serves clients of every pace.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "src/base/time.hpp"
#include "src/predict/profile.hpp"

namespace driftlock {

enum class Feature : std::uint8_t {
  kSilence,            // since the last request, against its usual gap
  kPace,               // recent gaps against usual ones
  kWait,               // time in the node
  kTransit,            // delay on the way, above the least seen
  kFailures,           // answers that were not what was asked for
  kMix,                // kinds of operation
  kAccess,             // which locks
  kClockResidual,      // the client's clock against the node's, at release
  kBehaviourResidual,  // held longer or shorter than it said
  kProbeLatency,       // request to reply, at the node's interface or at the client's
  kProbeUnanswered,    // requests seen there without a reply
};
inline constexpr std::size_t kFeatures = 11;
using FeatureVector = std::array<float, kFeatures>;

const char* to_string(Feature feature);

// What the kernel's probe saw of one session since the last step. The probe's clock is only ever
// used for differences.
struct PathLatency {
  std::uint64_t session_id = 0;
  std::uint64_t requests = 0;  // in the step
  std::uint64_t replies = 0;
  double p50_ns = 0.0;  // of the step's replies
  double p99_ns = 0.0;
};

// The probe's view of one client over time. Owned by the predictor thread.
struct PathHistory {
  Trend p50;         // log2 ns
  Trend p99;         // log2 ns
  Trend unanswered;  // share of a step's requests

  void add(const PathLatency& step);
};

// `path` may be null: no probe here. What the client's host reports is in its profile.
[[nodiscard]] FeatureVector features_of(const ClientProfile& profile, const PathHistory* path,
                                        Nanoseconds now_tai_ns);

}  // namespace driftlock
