// Membership: who is alive, suspected or dead, as rumour has it (A. Das, I. Gupta, A. Motivala,
// "SWIM", 2002). Everyone on the peer list is alive unless told otherwise, so that only exceptions
// take memory. Owned by the gossip thread. Invariant: of two rumours about one node the later life,
// then the higher incarnation, then the worse state wins; only the node itself raises its
// incarnation.
#pragma once

#include <cstdint>
#include <vector>

#include "src/base/time.hpp"
#include "src/cluster/gossip_wire.hpp"

namespace driftlock {

struct MembershipOptions {
  NodeId self = kNobody;
  std::uint32_t epoch = 0;
  Nanoseconds suspicion_ns = 3 * kSecond;  // suspected so long without a contradiction: dead
  std::uint32_t tellings = 8;              // how often each rumour is passed on
  std::size_t exceptions_max = 256;
};

class Membership {
 public:
  explicit Membership(const MembershipOptions& options) : options_(options) {}

  [[nodiscard]] gossip::MemberState state(NodeId id) const;
  // A rumour. About this node itself it is contradicted where it is bad.
  void learn(const gossip::Member& rumour, Nanoseconds local_ns);
  // It did not answer, nor did others get an answer from it.
  void suspect(NodeId id, std::uint32_t epoch, Nanoseconds local_ns);
  // An authentic datagram of this life came from it.
  void heard(NodeId id, std::uint32_t epoch, Nanoseconds local_ns);
  void step(Nanoseconds local_ns);

  // Rumours to pass on, the least told first; what is bad about `receiver` in any case, so that it
  // can contradict.
  void tell(NodeId receiver, gossip::Few<gossip::Member, gossip::kMembersMax>& out);

  [[nodiscard]] std::uint16_t incarnation() const { return incarnation_; }
  [[nodiscard]] std::size_t count(gossip::MemberState state) const;
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

 private:
  struct Exception {
    gossip::Member member;
    Nanoseconds since_ns = 0;
    std::uint32_t told = 0;
  };
  [[nodiscard]] Exception* find(NodeId id);
  void note(const gossip::Member& member, Nanoseconds local_ns);
  void contradict(const gossip::Member& rumour, Nanoseconds local_ns);

  MembershipOptions options_;
  std::uint16_t incarnation_ = 0;
  std::uint64_t changes_ = 0;
  std::vector<Exception> exceptions_;
};

}  // namespace driftlock
