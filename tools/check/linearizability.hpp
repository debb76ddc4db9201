// Is there an order of the operations, each at one instant between its call and its answer, in
// which a lock that does one thing after another would have answered so? (M. Herlihy, J. Wing,
// 1990.)
//
// The search is J. Wing's and C. Gong's (JPDC 17, 1993) with G. Lowe's memory of configurations
// seen (CCPE 29(4), 2017), kept as hashes of 128 bits, for each lock alone.
#pragma once

#include <string>
#include <vector>

#include "tools/check/history.hpp"

namespace driftlock::check {

enum class Judgement : std::uint8_t { kLinearizable, kViolated, kUndecided };

struct Findings {
  Judgement judgement = Judgement::kLinearizable;
  std::string why;  // violated: what no order explains
  std::uint64_t operations = 0;
  std::uint64_t keys = 0;
  std::uint64_t configurations = 0;  // looked at
};

// Gives up a lock as undecided after so many configurations.
inline constexpr std::uint64_t kConfigurationsMax = 20'000'000;

[[nodiscard]] Findings check_key(const KeyHistory& history,
                                 std::uint64_t configurations_max = kConfigurationsMax);
// The worst of all locks.
[[nodiscard]] Findings check_history(const History& history,
                                     std::uint64_t configurations_max = kConfigurationsMax);

}  // namespace driftlock::check
