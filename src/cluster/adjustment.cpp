#include "src/cluster/adjustment.hpp"

#include <algorithm>

namespace driftlock {

using gossip::Reason;
using gossip::Stage;

namespace {

Nanoseconds magnitude(Nanoseconds value) {
  return value < 0 ? -value : value;
}

}  // namespace

// Alerts count only where more peers agree than may be wrong: one liar accuses nobody.
Reason Adjustment::suspicion(const SkewEvidence& evidence) const {
  if (evidence.outside) return Reason::kIntervals;
  if (evidence.enough && evidence.improbable) return Reason::kEstimate;
  if (evidence.accusers > std::max<std::size_t>(evidence.faulty_max, 1)) return Reason::kAlerts;
  if (evidence.clients >= options_.clients_min &&
      magnitude(evidence.client_offset_ns) > evidence.client_error_ns) {
    return Reason::kClients;
  }
  return Reason::kNone;
}

void Adjustment::go(Stage to, const SkewEvidence& evidence, Nanoseconds local_ns) {
  changes_.push_back({stage_, to, reason_, evidence.offset_ns, local_ns - since_ns_});
  stage_ = to;
  stage_ns_ = local_ns;
  ++entered_[static_cast<std::size_t>(to)];
}

bool Adjustment::take_change(AdjustmentChange& change) {
  if (changes_.empty()) return false;
  change = changes_.front();
  changes_.erase(changes_.begin());
  return true;
}

void Adjustment::look(const SkewEvidence& evidence, bool owns, Nanoseconds local_ns) {
  const Reason found = suspicion(evidence);
  if (found != Reason::kNone) {
    latest_ns_ = local_ns;
    reason_ = found;
    const Nanoseconds reach =
        std::max(magnitude(evidence.offset_ns), evidence.clients >= options_.clients_min
                                                    ? magnitude(evidence.client_offset_ns)
                                                    : Nanoseconds{0});
    // Twice what is known of: a clock that runs away is further off at the next look.
    guard_ns_ = std::max(guard_ns_, 2 * reach);
    if (stage_ == Stage::kNormal) since_ns_ = local_ns;
    if (stage_ == Stage::kNormal || stage_ == Stage::kReturning) {
      go(Stage::kSuspect, evidence, local_ns);
      return;
    }
  }
  const bool proven = found == Reason::kAlerts ||
                      (found != Reason::kNone && evidence.enough && found != Reason::kClients);
  const bool calm = found == Reason::kNone && local_ns - latest_ns_ >= options_.calm_ns;
  switch (stage_) {
    case Stage::kNormal:
      return;
    case Stage::kSuspect:
      if (calm) {
        guard_ns_ = 0;
        go(Stage::kNormal, evidence, local_ns);
        reason_ = Reason::kNone;
      } else if (proven && local_ns - stage_ns_ >= options_.confirm_ns) {
        go(Stage::kWithdrawn, evidence, local_ns);
      }
      return;
    case Stage::kWithdrawn:
      if (!calm) go(Stage::kHandingOver, evidence, local_ns);
      break;
    case Stage::kHandingOver:
      if (!owns) go(Stage::kOutside, evidence, local_ns);
      break;
    case Stage::kOutside:
      break;
    case Stage::kReturning:
      if (local_ns - stage_ns_ < options_.return_ns) return;
      guard_ns_ = 0;
      go(Stage::kNormal, evidence, local_ns);
      reason_ = Reason::kNone;
      return;
  }
  if (calm) go(Stage::kReturning, evidence, local_ns);
}

}  // namespace driftlock
