// PredictionMode: how far the predictor may go, and the names by which people say so.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace driftlock {

enum class PredictionMode : std::uint8_t {
  kOff,     // not even a record
  kShadow,  // would-have-been actions are recorded with what came of them
  kAct,
};
inline constexpr std::array kPredictionModes = {PredictionMode::kOff, PredictionMode::kShadow,
                                                PredictionMode::kAct};

[[nodiscard]] constexpr const char* to_string(PredictionMode mode) {
  constexpr std::array<const char*, kPredictionModes.size()> kNames = {"off", "shadow", "act"};
  return kNames[static_cast<std::size_t>(mode)];
}

// False where it is none of them.
[[nodiscard]] constexpr bool parse_mode(std::string_view text, PredictionMode& out) {
  for (const PredictionMode mode : kPredictionModes) {
    if (text != to_string(mode)) continue;
    out = mode;
    return true;
  }
  return false;
}

}  // namespace driftlock
