// Failure detectors: from the arrivals of a client's requests, when its silence becomes suspicious.
// Every one is a deadline that moves with each arrival, so that they compare on one trace. Pure.
//   fixed        last + timeout
//   phi-normal   silence whose probability under a normal of the gaps is 10^-phi (Hayashibara 2004)
//   phi-exp      the same under an exponential (as in Cassandra)
//   chen         expected arrival + margin (Chen, Toueg, Aguilera 2002)
//   bertier      expected arrival + Jacobson's margin (Bertier, Marin, Sens 2002)
//   2w           the later expected arrival of a short and a long window + margin (Tomsic et al.
//                2015)
//   ours         AdaptiveLiveness: a silence that an ordinary client keeps once in 1/rate gaps
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "src/base/time.hpp"

namespace driftlock {

class FailureDetector {
 public:
  virtual ~FailureDetector() = default;
  virtual void arrived(Nanoseconds now_ns) = 0;
  // From here on the client is suspected, unless something arrives before. kNever: too early to
  // say.
  [[nodiscard]] virtual Nanoseconds suspect_at() const = 0;
};

struct DetectorKind {
  std::string_view name;
  std::string_view parameter;
  std::vector<double> sweep;  // values that span eager to patient
};
[[nodiscard]] const std::vector<DetectorKind>& detector_kinds();

// Null where there is no such kind. The parameter is in ms for fixed, chen and 2w, else a number.
[[nodiscard]] std::unique_ptr<FailureDetector> make_detector(std::string_view kind,
                                                             double parameter);

}  // namespace driftlock
