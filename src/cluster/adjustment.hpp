// Adjustment: what a node does when its clock and its peers' disagree, as a small machine. Owned by
// the gossip thread; the clock thread and the cluster thread are told its outcome. Nothing here
// sets a clock. Invariants: margins are wide from the first suspicious look on; ownership is only
// given up where enough of the cluster agrees that this node is the one that is wrong; every change
// of stage is told once.
//
//   normal -> suspect        at the first suspicious look: peers are alerted, margins widened
//   suspect -> withdrawn     after confirm_ns of proven suspicion: takes no ownership any more.
//                            Clients alone, or one other node alone, prove nothing
//   withdrawn -> handing over  at the next look: gives away what it owns
//   handing over -> outside  when it owns nothing any more
//   any -> returning         after calm_ns without suspicion (from suspect: normal at once)
//   returning -> normal      after return_ns more
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/time.hpp"
#include "src/cluster/fusion.hpp"
#include "src/cluster/gossip_wire.hpp"

namespace driftlock {

struct AdjustmentOptions {
  Nanoseconds confirm_ns = 500 * kMillisecond;
  Nanoseconds calm_ns = 2 * kSecond;
  Nanoseconds return_ns = 2 * kSecond;
  std::size_t clients_min = 3;  // synchronized clients that must agree to accuse a node's clock
};

// What one look at the others shows.
struct SkewEvidence {
  bool enough = false;        // more others agree with each other than may be wrong
  bool outside = false;       // own hard bound misses what enough share, or that of the only other
  bool improbable = false;    // own estimate lies further off than it claims to at most
  Nanoseconds offset_ns = 0;  // own estimate less the fused one
  double offset_sigma_ns = 0.0;  // of that
  std::size_t accusers = 0;      // peers whose alerts name this node
  std::size_t faulty_max = 0;
  std::size_t clients = 0;           // that state their own time
  Nanoseconds client_offset_ns = 0;  // this clock less theirs, median
  Nanoseconds client_error_ns = 0;   // what their bounds and the way allow
};

struct AdjustmentChange {
  gossip::Stage from = gossip::Stage::kNormal;
  gossip::Stage to = gossip::Stage::kNormal;
  gossip::Reason reason = gossip::Reason::kNone;
  Nanoseconds offset_ns = 0;
  Nanoseconds after_ns = 0;  // since the first suspicion of this episode
};

class Adjustment {
 public:
  explicit Adjustment(const AdjustmentOptions& options) : options_(options) {}

  // `owns`: this node still owns something.
  void look(const SkewEvidence& evidence, bool owns, Nanoseconds local_ns);

  [[nodiscard]] gossip::Stage stage() const { return stage_; }
  [[nodiscard]] gossip::Reason reason() const { return reason_; }
  [[nodiscard]] bool may_take_ownership() const { return stage_ <= gossip::Stage::kSuspect; }
  [[nodiscard]] bool hands_over() const {
    return stage_ == gossip::Stage::kHandingOver || stage_ == gossip::Stage::kOutside;
  }
  // To be kept on top of every bound by which a lease or an ownership lease is judged.
  [[nodiscard]] Nanoseconds guard_ns() const { return guard_ns_; }
  [[nodiscard]] bool take_change(AdjustmentChange& change);
  [[nodiscard]] std::uint64_t entered(gossip::Stage stage) const {
    return entered_[static_cast<std::size_t>(stage)];
  }

 private:
  [[nodiscard]] gossip::Reason suspicion(const SkewEvidence& evidence) const;
  void go(gossip::Stage to, const SkewEvidence& evidence, Nanoseconds local_ns);

  const AdjustmentOptions options_;
  gossip::Stage stage_ = gossip::Stage::kNormal;
  gossip::Reason reason_ = gossip::Reason::kNone;
  Nanoseconds since_ns_ = 0;   // the first suspicion of this episode
  Nanoseconds stage_ns_ = 0;   // when this stage began
  Nanoseconds latest_ns_ = 0;  // the latest suspicion
  Nanoseconds guard_ns_ = 0;
  std::uint64_t entered_[6] = {};
  std::vector<AdjustmentChange> changes_;
};

}  // namespace driftlock
