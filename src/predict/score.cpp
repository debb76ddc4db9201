#include "src/predict/score.hpp"

#include <algorithm>
#include <cmath>

namespace driftlock {

namespace {
constexpr float kExcess = 2.0F;
constexpr float kExcessMax = 20.0F;  // one runaway feature must not drown the explanation
constexpr float kHalf = 13.0F;       // exp(-9 / 13) is one half: 3 deviations in excess
}  // namespace

ClientScore score_of(const ClientProfile& profile, const FeatureVector& features) {
  ClientScore result;
  result.session_id = profile.session_id;
  result.client_id = profile.client_id;
  result.warming = profile.operations < kWarmUpOperations;
  if (result.warming) return result;
  float sum = 0.0F;
  float largest = 0.0F;
  for (std::size_t i = 0; i < kFeatures; ++i) {
    const float excess = std::clamp(features[i] - kExcess, 0.0F, kExcessMax);
    sum += excess * excess;
    if (excess > largest) {
      largest = excess;
      result.cause = static_cast<Feature>(i);
    }
  }
  result.score = 1.0F - std::exp(-sum / kHalf);
  return result;
}

}  // namespace driftlock
