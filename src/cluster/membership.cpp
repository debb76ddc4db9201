#include "src/cluster/membership.hpp"

#include <algorithm>
#include <tuple>

namespace driftlock {

using gossip::Member;
using gossip::MemberState;

namespace {

auto rank(const Member& member) {
  return std::tuple(std::uint32_t{member.epoch}, std::uint16_t{member.incarnation}, member.state);
}

}  // namespace

Membership::Exception* Membership::find(NodeId id) {
  const auto at = std::find_if(exceptions_.begin(), exceptions_.end(),
                               [&](const Exception& one) { return one.member.id == id; });
  return at == exceptions_.end() ? nullptr : &*at;
}

MemberState Membership::state(NodeId id) const {
  const auto at = std::find_if(exceptions_.begin(), exceptions_.end(),
                               [&](const Exception& one) { return one.member.id == id; });
  return at == exceptions_.end() ? MemberState::kAlive : at->member.state;
}

// Where there is no room, the oldest good news is forgotten, else the newest bad news is not kept:
// whoever finds it out again tells it again.
void Membership::note(const Member& member, Nanoseconds local_ns) {
  if (Exception* known = find(member.id)) {
    if (known->member.state != member.state) {
      ++changes_;
      known->since_ns = local_ns;
    }
    known->member = member;
    known->told = 0;
    return;
  }
  if (exceptions_.size() >= options_.exceptions_max) {
    const auto good =
        std::find_if(exceptions_.begin(), exceptions_.end(),
                     [](const Exception& one) { return one.member.state == MemberState::kAlive; });
    if (good == exceptions_.end()) return;
    exceptions_.erase(good);
  }
  if (member.state != MemberState::kAlive) ++changes_;
  exceptions_.push_back({member, local_ns, 0});
}

void Membership::contradict(const Member& rumour, Nanoseconds local_ns) {
  if (rumour.epoch != options_.epoch || rumour.state == MemberState::kAlive ||
      rumour.incarnation < incarnation_) {
    return;
  }
  incarnation_ = static_cast<std::uint16_t>(rumour.incarnation + 1);
  note({.id = options_.self,
        .epoch = options_.epoch,
        .incarnation = incarnation_,
        .state = MemberState::kAlive},
       local_ns);
}

void Membership::learn(const Member& rumour, Nanoseconds local_ns) {
  if (rumour.id == options_.self) {
    contradict(rumour, local_ns);
    return;
  }
  const Exception* known = find(rumour.id);
  if (known == nullptr && rumour.state == MemberState::kAlive) return;  // as was thought
  if (known == nullptr || rank(rumour) > rank(known->member)) note(rumour, local_ns);
}

void Membership::suspect(NodeId id, std::uint32_t epoch, Nanoseconds local_ns) {
  const Exception* known = find(id);
  if (known != nullptr && known->member.state != MemberState::kAlive) return;
  Member member{.id = id, .epoch = epoch, .state = MemberState::kSuspect};
  if (known != nullptr && known->member.epoch >= epoch) {
    member.epoch = known->member.epoch;
    member.incarnation = known->member.incarnation;
  }
  note(member, local_ns);
}

// Only the node itself can clear its name for all; whoever hears it knows better at once.
void Membership::heard(NodeId id, std::uint32_t epoch, Nanoseconds local_ns) {
  Exception* known = find(id);
  if (known == nullptr || known->member.state == MemberState::kAlive) return;
  if (epoch > known->member.epoch) {
    note({.id = id, .epoch = epoch, .state = MemberState::kAlive}, local_ns);
  } else if (known->member.state == MemberState::kSuspect) {
    known->since_ns = local_ns;  // suspicion begins anew while it talks
  }
}

void Membership::step(Nanoseconds local_ns) {
  for (Exception& one : exceptions_) {
    if (one.member.state != MemberState::kSuspect) continue;
    if (local_ns - one.since_ns < options_.suspicion_ns) continue;
    Member dead = one.member;
    dead.state = MemberState::kDead;
    note(dead, local_ns);
  }
  std::erase_if(exceptions_, [&](const Exception& one) {
    return one.member.state == MemberState::kAlive && one.told >= options_.tellings &&
           one.member.id != options_.self;
  });
}

void Membership::tell(NodeId receiver, gossip::Few<Member, gossip::kMembersMax>& out) {
  if (const Exception* bad = find(receiver)) {
    if (bad->member.state != MemberState::kAlive) out.add(bad->member);
  }
  std::stable_sort(exceptions_.begin(), exceptions_.end(),
                   [](const Exception& a, const Exception& b) { return a.told < b.told; });
  for (Exception& one : exceptions_) {
    if (one.told >= options_.tellings || out.full()) break;
    if (one.member.id == receiver) continue;
    ++one.told;
    out.add(one.member);
  }
}

std::size_t Membership::count(MemberState state) const {
  return static_cast<std::size_t>(
      std::count_if(exceptions_.begin(), exceptions_.end(),
                    [&](const Exception& one) { return one.member.state == state; }));
}

}  // namespace driftlock
