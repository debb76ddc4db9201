#include "tools/sim/oracle.hpp"

#include <algorithm>

namespace driftlock::sim {
namespace {

std::string describe(const Hold& hold) {
  return "client " + std::to_string(hold.client) + " (" + wire::to_string(hold.mode) + ", token " +
         std::to_string(hold.token) + ")";
}

}  // namespace

Hold& Oracle::begin(const Hold& hold) {
  Key& key = keys_[hold.key];
  std::erase_if(key.holds, [](const Hold& each) { return each.over; });
  key.holds.push_back(hold);
  if (key.holds.back().believed()) check_token(key, hold);
  check(hold.key);
  return key.holds.back();
}

// A token rises with every grant that may not stand beside the one before; the same token again is
// the same client, taking its lock once more.
void Oracle::check_token(Key& key, const Hold& hold) {
  if (hold.token <= key.taken_over) return;  // it learns of its grant after it has lost it
  const bool exclusive = hold.mode == wire::Mode::kExclusive;
  const Newest& below = exclusive ? key.newest : key.newest_exclusive;
  if (hold.token < below.token || (hold.token == below.token && hold.client != below.client)) {
    events_.violate("token", describe(hold) + " begins on k" + std::to_string(hold.key) +
                                 " after token " + std::to_string(below.token));
  }
  const Newest fresh{hold.token, hold.client};
  if (hold.token > key.newest.token) key.newest = fresh;
  if (exclusive && hold.token > key.newest_exclusive.token) key.newest_exclusive = fresh;
}

void Oracle::converted(Hold& hold, wire::Mode mode, std::uint64_t token) {
  const bool renamed = token != hold.token;
  hold.mode = mode;
  hold.token = token;
  if (renamed && hold.believed()) check_token(keys_[hold.key], hold);
  check(hold.key);
}

void Oracle::taken_over(std::uint32_t key, std::uint64_t newest) {
  keys_[key].taken_over = std::max(keys_[key].taken_over, newest);
}

void Oracle::check_permits(std::uint32_t index, const std::vector<const Hold*>& believed) {
  std::uint32_t used = 0;
  for (const Hold* hold : believed) used += hold->permits;
  if (used > plan_[index].permits) {
    events_.violate("exclusion", "k" + std::to_string(index) + ": " + std::to_string(used) +
                                     " permits of " + std::to_string(plan_[index].permits) +
                                     " are held");
  }
}

void Oracle::check(std::uint32_t index) {
  const Key& key = keys_[index];
  std::vector<const Hold*> believed;
  for (const Hold& hold : key.holds) {
    if (hold.believed() && hold.token > key.taken_over) believed.push_back(&hold);
  }
  if (believed.size() < 2) return;
  if (plan_[index].permits != 0) return check_permits(index, believed);
  for (const Hold* a : believed) {
    for (const Hold* b : believed) {
      if (a->client == b->client || a->mode != wire::Mode::kExclusive) continue;
      events_.violate("exclusion", "k" + std::to_string(index) + " is held by " + describe(*a) +
                                       " and by " + describe(*b));
    }
  }
}

void Oracle::check_client(std::uint32_t client) {
  for (std::uint32_t i = 0; i < keys_.size(); ++i) {
    const auto& holds = keys_[i].holds;
    if (std::any_of(holds.begin(), holds.end(),
                    [client](const Hold& each) { return !each.over && each.client == client; })) {
      check(i);
    }
  }
}

}  // namespace driftlock::sim
