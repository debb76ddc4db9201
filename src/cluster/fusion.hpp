// Fusion: what many clocks say together. Pure functions on statements brought to one instant; used
// by the gossip thread and by driftlock-eval.
//
// Bounds. K. Marzullo, "Maintaining the time in a distributed system" (1984): of m intervals of
// which at most f are false, the truth lies in m - f of them, so between the first and the last
// point that m - f of them share. That is all that the hard bound assumes; nothing statistical
// enters, and no correlation can hurt it. An interval that does not meet the result is false.
//
// Estimates. How errors are correlated is not known (a grandmaster in common, a path in common), so
// they are combined by covariance intersection with the fast weights (W. Niehsen, 2002)
//   w_i = (1/P_i) / sum(1/P_j),   1/P = sum(w_i / P_i),   x = P sum(w_i x_i / P_i),
// whose P is never less than the true variance, whatever the correlation. Less uncertain clocks
// weigh more. A lying clock may pass the intersection and claim a tiny P_i, so
//   - no P_i counts as smaller than the (f+1)-th smallest, which an honest clock has or exceeds;
//   - intervals of k sigma are intersected as the bounds were, and who does not meet is left out;
//   - x is known only as far as any f clocks can move it: [x_low, x_high] are the means without the
//     f clocks that pull up, or down, the most. The mean of the honest alone lies in between.
// The statistical bound is [x_low - k sqrt(P), x_high + k sqrt(P)].
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/time.hpp"
#include "src/cluster/peer_list.hpp"

namespace driftlock {

// A clock's statement at the instant of fusion.
struct FusionSource {
  NodeId id = kNobody;
  Interval hard;  // unlimited: it states none, and does not vote
  Nanoseconds estimate_ns = 0;
  double sigma_ns = 0.0;  // that of its estimate and of the way here
  bool direct = false;
};

inline constexpr double kFusionSigmas = 4.5;  // the statistical bound's k, as the clock's own

enum class SourceVerdict : std::uint8_t {
  kUsed = 0,
  kSilent = 1,      // states no bound
  kFalse = 2,       // its hard bound misses what all share: certainly wrong
  kImprobable = 3,  // its estimate is further off than it claims to be at most
};

struct Fused {
  bool valid = false;  // the sources agree as much as they must; else `hard` holds all of them
  Interval hard;
  std::size_t voters = 0;
  std::size_t faulty_allowed = 0;
  std::size_t rejected = 0;  // false or improbable
  Nanoseconds estimate_ns = 0;
  double sigma_ns = 0.0;                // square root of P
  Interval statistical;                 // within `hard`
  std::vector<SourceVerdict> verdicts;  // of each source
};

// At most `faulty_max` of the sources lie.
[[nodiscard]] Fused fuse(std::span<const FusionSource> sources, std::size_t faulty_max);

// The first and the last point that `needed` of the intervals share; false where there is none.
[[nodiscard]] bool intersect(std::span<const Interval> intervals, std::size_t needed,
                             Interval& out);

}  // namespace driftlock
