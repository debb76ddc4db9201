#include "src/predict/features.hpp"

#include <algorithm>
#include <cmath>

namespace driftlock {
namespace {

// How far the recent mean is from the usual one, in standard deviations of a mean of
// kRecentSamples. `floor` is the least deviation believed in, so that a client as regular as a
// clock may still jitter.
float shift(const Trend& trend, float floor, float samples = kRecentSamples) {
  if (trend.samples < 2) return 0.0F;
  const float spread = std::sqrt(trend.variance) / std::sqrt(samples) + floor;
  return (trend.recent - trend.usual) / spread;
}

constexpr float kOctaveFloor = 0.25F;  // durations: a quarter of a doubling
constexpr float kShareFloor = 0.05F;

// One silence is one sample: it is compared with the spread of single gaps.
float silence(const ClientProfile& profile, Nanoseconds now_tai_ns) {
  if (profile.gap.samples < 2) return 0.0F;
  const float now = rough_log2(now_tai_ns - profile.last_tai_ns);
  return (now - profile.gap.usual) / (std::sqrt(profile.gap.variance) + kOctaveFloor);
}

}  // namespace

const char* to_string(Feature feature) {
  constexpr std::array<const char*, kFeatures> kNames = {
      "silence", "pace",  "wait",      "transit",       "failures",        "mix",
      "access",  "clock", "behaviour", "probe_latency", "probe_unanswered"};
  return kNames[static_cast<std::size_t>(feature)];
}

void PathHistory::add(const PathLatency& step) {
  if (step.replies > 0) {
    p50.add(rough_log2(static_cast<Nanoseconds>(step.p50_ns)));
    p99.add(rough_log2(static_cast<Nanoseconds>(step.p99_ns)));
  }
  if (step.requests > 0) {
    const auto answered = static_cast<float>(std::min(step.replies, step.requests));
    unanswered.add(1.0F - answered / static_cast<float>(step.requests));
  }
}

FeatureVector features_of(const ClientProfile& profile, const PathHistory* path,
                          Nanoseconds now_tai_ns) {
  FeatureVector features{};
  const auto set = [&](Feature feature, float value) {
    features[static_cast<std::size_t>(feature)] = value;
  };
  set(Feature::kSilence, std::max(0.0F, silence(profile, now_tai_ns)));
  set(Feature::kPace, std::fabs(shift(profile.gap, kOctaveFloor)));
  set(Feature::kWait, std::max(0.0F, shift(profile.waited, kOctaveFloor)));
  set(Feature::kTransit, std::max(0.0F, shift(profile.transit, kOctaveFloor)));
  set(Feature::kFailures, std::max(0.0F, shift(profile.failures, kShareFloor)));
  // A share of a few samples wanders by about a tenth.
  set(Feature::kMix, profile.mix.shift() / 0.1F);
  set(Feature::kAccess, std::max(0.0F, shift(profile.access.change, kShareFloor)));
  set(Feature::kClockResidual, std::max(0.0F, shift(profile.clock_residual, kOctaveFloor)));
  set(Feature::kBehaviourResidual, std::max(0.0F, shift(profile.behaviour_residual, kOctaveFloor)));
  // Two probes may see one client, each against its own past: their clocks and their parts of the
  // path differ, so that only the shifts are compared.
  float latency = std::max(
      {0.0F, shift(profile.path_p50, kOctaveFloor), shift(profile.path_p99, kOctaveFloor)});
  float unanswered = std::max(0.0F, shift(profile.path_unanswered, kShareFloor));
  if (path != nullptr) {
    latency = std::max({latency, shift(path->p50, kOctaveFloor), shift(path->p99, kOctaveFloor)});
    unanswered = std::max(unanswered, shift(path->unanswered, kShareFloor));
  }
  set(Feature::kProbeLatency, latency);
  set(Feature::kProbeUnanswered, unanswered);
  return features;
}

}  // namespace driftlock
