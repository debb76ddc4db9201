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
  if (hold.believed()) check_token(key, hold);
  check(hold.key);
  return key.holds.back();
}

void Oracle::check_token(Key& key, const Hold& hold) {
  const bool exclusive = hold.mode == wire::Mode::kExclusive;
  const std::uint64_t below = exclusive ? key.newest : key.newest_exclusive;
  const bool reentered = std::any_of(key.holds.begin(), key.holds.end(), [&](const Hold& each) {
    return each.token == hold.token && each.client == hold.client;
  });
  if (hold.token < below || (hold.token == below && !reentered)) {
    events_.violate("token", describe(hold) + " begins on k" + std::to_string(hold.key) +
                                 " after token " + std::to_string(below));
  }
  key.newest = std::max(key.newest, hold.token);
  if (exclusive) key.newest_exclusive = std::max(key.newest_exclusive, hold.token);
}

void Oracle::check(std::uint32_t index) {
  Key& key = keys_[index];
  std::vector<const Hold*> believed;
  for (const Hold& hold : key.holds) {
    if (hold.believed()) believed.push_back(&hold);
  }
  if (believed.size() < 2) return;
  const std::uint16_t size = permits_[index];
  if (size != 0) {
    std::uint32_t used = 0;
    for (const Hold* hold : believed) used += hold->permits;
    if (used > size) {
      events_.violate("exclusion", "k" + std::to_string(index) + ": " + std::to_string(used) +
                                       " permits of " + std::to_string(size) + " are held");
    }
    return;
  }
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
