// StatementTable: the latest word of each node about its own clock, and how old it is. Owned by the
// gossip thread. Invariant: a statement's age is an interval that contains the true one, as long as
// the nodes that passed it on count time within their oscillators' limits; no value in it was made
// by anyone but its origin.
#pragma once

#include <cstdint>
#include <vector>

#include "src/base/time.hpp"
#include "src/cluster/chance.hpp"
#include "src/cluster/gossip_wire.hpp"

namespace driftlock {

// TAI nanoseconds that pass in one local nanosecond, for certain.
struct LocalRate {
  double least = 1.0 - 500e-6;
  double most = 1.0 + 500e-6;
};

struct Age {
  Nanoseconds least_ns = 0;
  Nanoseconds most_ns = 0;
};

struct HeldStatement {
  gossip::Statement said;
  Nanoseconds local_ns = 0;  // when it came
  Age age;                   // when it came, for certain
  double age_estimate_ns = 0.0;
  double age_sigma_ns = 0.0;
  bool direct = false;  // from its origin itself

  [[nodiscard]] Age age_at(Nanoseconds now_local_ns, const LocalRate& rate) const;
  // Where TAI is now, by this statement. Unlimited where it states no bound.
  [[nodiscard]] Interval tai_at(Nanoseconds now_local_ns, const LocalRate& rate) const;
  // The same as an estimate; `rate_ppb` is that of TAI against local time, less 1.
  [[nodiscard]] Nanoseconds estimate_at(Nanoseconds now_local_ns, double rate_ppb) const;
  // One standard deviation of the estimate: what the origin says, and what is not known of the age.
  [[nodiscard]] double sigma_at(Nanoseconds now_local_ns) const;
};

class StatementTable {
 public:
  StatementTable(std::size_t capacity, Nanoseconds forget_ns)
      : capacity_(capacity), forget_ns_(forget_ns) {}

  // Kept where it is newer than what is held of that origin; then true.
  bool put(const HeldStatement& statement);
  // Drops what is older than it may be; so that the dead do not vote for ever.
  void forget_old(Nanoseconds local_ns);
  void forget(NodeId origin);

  // First what the asker holds an older one of, then any, the choice being blind to what they say:
  // a node that claims a small uncertainty is passed on no more often than another.
  void pick(Chance& chance, NodeId receiver,
            const gossip::Few<gossip::Want, gossip::kWantsMax>& wants, Nanoseconds local_ns,
            const LocalRate& rate, std::size_t statements_max,
            gossip::Few<gossip::Statement, gossip::kStatementsMax>& out) const;
  // Those held the longest.
  void oldest(gossip::Few<gossip::Want, gossip::kWantsMax>& out) const;

  [[nodiscard]] const std::vector<HeldStatement>& all() const { return held_; }
  [[nodiscard]] const HeldStatement* find(NodeId origin) const;

 private:
  const std::size_t capacity_;
  const Nanoseconds forget_ns_;
  std::vector<HeldStatement> held_;
};

}  // namespace driftlock
