// FaultRun: a long simulated run of the clock model against a known truth, with one kind of
// oscillator noise and faults at random times; counts how often the bounds failed to hold it. Pure,
// deterministic under its seed.
//
// The source is honest: it admits to an error that covers what it is off by. Faults: the source is
// gone; its path turns asymmetric, within the budget; it is stepped from a wrong time (admitted) to
// the right one; the node pauses; and for up to three samples it lies beyond what it admits to, as
// a single delayed reading does. A source that lies for longer is believed, and no clock with one
// source could know better.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "src/clock/clock_model.hpp"

namespace driftlock {

enum class OscillatorNoise { kWhitePhase, kWhiteFrequency, kFlickerFrequency, kWalk, kDrift };
[[nodiscard]] std::optional<OscillatorNoise> parse_oscillator_noise(std::string_view name);
[[nodiscard]] std::string_view to_string(OscillatorNoise noise);

struct FaultRunOptions {
  OscillatorNoise noise = OscillatorNoise::kWhiteFrequency;
  std::uint64_t samples = 1'000'000;
  double interval_s = 1.0;
  double faults_per_sample = 0.002;
  std::uint64_t seed = 1;
};

struct FaultRunResult {
  std::uint64_t readings = 0;    // of the published clock, between the samples and at them
  std::uint64_t lost = 0;        // of these, said LOST: no promise
  std::uint64_t violations = 0;  // of the hard bound
  std::uint64_t outside = 0;     // of the statistical bound
  // The same for readings while no fault biases the source, nor did in the last minute.
  std::uint64_t unbiased = 0;
  std::uint64_t unbiased_outside = 0;
  std::uint64_t faults = 0;
  std::uint64_t steps = 0;
  std::uint64_t suspicious = 0;
  double mean_hard_half_width_ns = 0.0;
  double mean_statistical_half_width_ns = 0.0;
  double rms_ns = 0.0;
};

[[nodiscard]] FaultRunResult run_with_faults(const FaultRunOptions& options);

}  // namespace driftlock
