// ClientScore: how strange a client is, from 0 (as usual) to 1, and which feature says so most. The
// first detector, a sum of squared excesses, needs no training; the learnt one (predictor.hpp) adds
// how improbable that is. Pure; nothing acts on it.
#pragma once

#include <cstdint>

#include "src/predict/features.hpp"

namespace driftlock {

struct ClientScore {
  std::uint64_t session_id = 0;
  std::uint64_t client_id = 0;
  std::uint32_t index = 0;  // of the session, at its lcore
  float score = 0.0F;
  Feature cause = Feature::kSilence;  // of the largest part of the score
  float strangeness = 0.0F;           // -ln P(an ordinary client looks so); 0 until learnt
  bool suspect = false;               // by the false-alarm rate asked for
  bool warming = true;                // too few operations to say anything: score is 0
};

inline constexpr std::uint32_t kWarmUpOperations = 32;

// Every feature within kExcess deviations adds nothing; a single one at about 5 gives one half.
[[nodiscard]] ClientScore score_of(const ClientProfile& profile, const FeatureVector& features);

}  // namespace driftlock
