#include "src/cluster/statement_table.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace driftlock {

using gossip::Statement;

namespace {

// How well a node is taken to know the rate of its own oscillator, while a statement lies with it.
constexpr double kRateSigma = 1e-6;

auto order(const Statement& statement) {
  return std::pair(std::uint32_t{statement.epoch}, std::uint32_t{statement.sequence});
}

// As it goes out again: older by the time it lay here.
Statement aged(const HeldStatement& held, Nanoseconds local_ns, const LocalRate& rate) {
  const Age age = held.age_at(local_ns, rate);
  Statement out = held.said;
  const Nanoseconds spread = age.most_ns - age.least_ns;
  out.age_ns = age.least_ns + spread / 2;
  out.age_error_ns =
      static_cast<std::uint32_t>(std::min<Nanoseconds>(spread / 2 + 1, wire::kUnknownError));
  return out;
}

}  // namespace

Age HeldStatement::age_at(Nanoseconds now_local_ns, const LocalRate& rate) const {
  const auto here = static_cast<double>(std::max<Nanoseconds>(now_local_ns - local_ns, 0));
  return {age.least_ns + static_cast<Nanoseconds>(std::floor(here * rate.least)),
          saturating_add(age.most_ns, static_cast<Nanoseconds>(std::ceil(here * rate.most)))};
}

Interval HeldStatement::tai_at(Nanoseconds now_local_ns, const LocalRate& rate) const {
  const std::uint32_t early = said.early_ns;
  const std::uint32_t late = said.late_ns;
  if (early == wire::kUnknownError || late == wire::kUnknownError) return {};
  const Age now = age_at(now_local_ns, rate);
  return {saturating_add(said.estimate_ns - Nanoseconds{early}, now.least_ns),
          saturating_add(said.estimate_ns + Nanoseconds{late}, now.most_ns)};
}

Nanoseconds HeldStatement::estimate_at(Nanoseconds now_local_ns, double rate_ppb) const {
  const auto here = static_cast<double>(now_local_ns - local_ns);
  return said.estimate_ns + std::llround(age_estimate_ns + here * (1.0 + rate_ppb * 1e-9));
}

double HeldStatement::sigma_at(Nanoseconds now_local_ns) const {
  const std::uint32_t said_sigma = said.sigma_ns;
  const double here = static_cast<double>(now_local_ns - local_ns) * kRateSigma;
  return std::sqrt(static_cast<double>(said_sigma) * static_cast<double>(said_sigma) +
                   age_sigma_ns * age_sigma_ns + here * here);
}

const HeldStatement* StatementTable::find(NodeId origin) const {
  const auto at = std::find_if(held_.begin(), held_.end(), [&](const HeldStatement& held) {
    return held.said.origin == origin;
  });
  return at == held_.end() ? nullptr : &*at;
}

bool StatementTable::put(const HeldStatement& statement) {
  const auto at = std::find_if(held_.begin(), held_.end(), [&](const HeldStatement& held) {
    return held.said.origin == statement.said.origin;
  });
  if (at != held_.end()) {
    if (order(statement.said) <= order(at->said)) return false;
    *at = statement;
    return true;
  }
  if (held_.size() < capacity_) {
    held_.push_back(statement);
    return true;
  }
  // The one whose news is oldest makes room, whatever it says.
  const auto oldest = std::min_element(
      held_.begin(), held_.end(), [](const HeldStatement& a, const HeldStatement& b) {
        return a.local_ns - a.age.most_ns < b.local_ns - b.age.most_ns;
      });
  if (oldest == held_.end() ||
      oldest->local_ns - oldest->age.most_ns >= statement.local_ns - statement.age.most_ns) {
    return false;
  }
  *oldest = statement;
  return true;
}

void StatementTable::forget_old(Nanoseconds local_ns) {
  std::erase_if(held_, [&](const HeldStatement& held) {
    return held.age.most_ns + (local_ns - held.local_ns) > forget_ns_;
  });
}

void StatementTable::forget(NodeId origin) {
  std::erase_if(held_, [&](const HeldStatement& held) { return held.said.origin == origin; });
}

void StatementTable::pick(Chance& chance, NodeId receiver,
                          const gossip::Few<gossip::Want, gossip::kWantsMax>& wants,
                          Nanoseconds local_ns, const LocalRate& rate, std::size_t statements_max,
                          gossip::Few<Statement, gossip::kStatementsMax>& out) const {
  std::size_t room = statements_max > out.count ? statements_max - out.count : 0;
  const auto asked = [&](NodeId origin) {
    return std::any_of(wants.begin(), wants.end(),
                       [&](const gossip::Want& want) { return want.origin == origin; });
  };
  for (const gossip::Want& want : wants) {
    const HeldStatement* held = find(want.origin);
    const auto has = std::pair(std::uint32_t{want.epoch}, std::uint32_t{want.sequence});
    if (room == 0 || held == nullptr || order(held->said) <= has) continue;
    room -= out.add(aged(*held, local_ns, rate)) ? 1 : 0;
  }
  // A random stretch of the table, which is in no order, would always pair the same neighbours:
  // selection sampling instead (Knuth, volume 2, algorithm S).
  std::size_t left = held_.size();
  for (const HeldStatement& held : held_) {
    if (room == 0 || out.full()) return;
    const bool chosen = chance.below(left) < room;
    --left;
    if (!chosen || held.said.origin == receiver || asked(held.said.origin)) continue;
    out.add(aged(held, local_ns, rate));
    --room;
  }
}

void StatementTable::oldest(gossip::Few<gossip::Want, gossip::kWantsMax>& out) const {
  std::vector<const HeldStatement*> all;
  all.reserve(held_.size());
  for (const HeldStatement& held : held_) all.push_back(&held);
  const std::size_t count = std::min(all.size(), out.items.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end(),
                    [](const HeldStatement* a, const HeldStatement* b) {
                      return a->local_ns - a->age.most_ns < b->local_ns - b->age.most_ns;
                    });
  for (std::size_t i = 0; i < count; ++i) {
    const Statement& said = all[i]->said;
    out.add({.origin = said.origin, .epoch = said.epoch, .sequence = said.sequence});
  }
}

}  // namespace driftlock
