#include "src/clock/simulated_source.hpp"

#include <algorithm>
#include <cmath>

namespace driftlock {

SimulatedSource::SimulatedSource(const SimulatedOscillator& oscillator, Nanoseconds start_tai_ns,
                                 std::uint64_t seed)
    : oscillator_(oscillator),
      random_(seed),
      tai_ns_(start_tai_ns),
      frequency_ppb_(oscillator.frequency_ppb) {}

void SimulatedSource::advance(Nanoseconds span_ns) {
  const double span_s = static_cast<double>(span_ns) * 1e-9;
  const double root = std::sqrt(span_s);
  frequency_ppb_ += oscillator_.drift_ppb_per_s * span_s;
  if (oscillator_.walk_ppb > 0.0) frequency_ppb_ += oscillator_.walk_ppb * root * normal_(random_);
  const double white_ns =
      oscillator_.white_ppb > 0.0 ? oscillator_.white_ppb * root * normal_(random_) : 0.0;
  const long double local_ns =
      static_cast<long double>(span_ns) * (1.0L + (frequency_ppb_ + flicker(span_s)) * 1e-9L) +
      white_ns;
  ticks_ += std::max(local_ns, 0.0L) / oscillator_.ns_per_tick;
  tai_ns_ += span_ns;
  drifted_ns_ = faults_.drift_ppb == 0.0
                    ? 0.0
                    : drifted_ns_ + static_cast<double>(span_ns) * faults_.drift_ppb * 1e-9;
}

// 1/f noise as a sum of first-order processes, their time constants half a decade apart.
double SimulatedSource::flicker(double span_s) {
  if (oscillator_.flicker_ppb <= 0.0) return 0.0;
  double sum = 0.0;
  double constant_s = 3.16227766;
  for (double& state : flicker_) {
    const double keep = std::exp(-span_s / constant_s);
    state =
        state * keep + oscillator_.flicker_ppb * std::sqrt(1.0 - keep * keep) * normal_(random_);
    sum += state;
    constant_s *= 3.16227766;
  }
  return sum;
}

Result<ClockSample> SimulatedSource::sample() {
  if (faults_.unreadable) return Error{"the simulated source does not answer"};
  const auto sandwich = static_cast<std::uint64_t>(
      std::ceil(static_cast<double>(faults_.sandwich_ns) / oscillator_.ns_per_tick));
  const double deviation = faults_.noise_ns > 0 ? std::clamp(normal_(random_), -5.0, 5.0) : 0.0;
  ClockSample sample;
  sample.ticks_after = ticks();
  sample.ticks_before = sample.ticks_after - sandwich;
  sample.tai_ns = tai_ns_ - faults_.sandwich_ns / 2 + faults_.offset_ns +
                  std::llround(drifted_ns_) +
                  std::llround(deviation * static_cast<double>(faults_.noise_ns));
  sample.max_error_ns = faults_.max_error_ns;
  sample.noise_ns = static_cast<double>(faults_.noise_ns);
  sample.steering_ppb = faults_.steering_ppb;
  sample.synchronized = !faults_.unsynchronized;
  return sample;
}

}  // namespace driftlock
