// SimulatedSource: a clock source and an oscillator that exist only as numbers, for the simulator
// and the tests. Time moves when the caller says so, and the truth can be asked for. Deterministic
// under its seed.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>

#include "src/clock/source.hpp"

namespace driftlock {

// The oscillator behind the tick counter, against TAI.
struct SimulatedOscillator {
  double ns_per_tick = 1.0;    // nominal
  double frequency_ppb = 0.0;  // ticks run fast by this
  double drift_ppb_per_s = 0.0;
  double white_ppb = 0.0;    // white frequency noise, standard deviation over 1 s
  double walk_ppb = 0.0;     // random walk of frequency, per square root of a second
  double flicker_ppb = 0.0;  // flicker: this standard deviation in each half decade of time
};

// What stands between TAI and the reading. All may be changed at any time: that is a fault.
struct SimulatedFaults {
  bool unreadable = false;
  bool unsynchronized = false;
  Nanoseconds offset_ns = 0;     // the source is off by this: a step, or an asymmetric path
  double drift_ppb = 0.0;        // and runs away by this; 0 brings it back
  Nanoseconds noise_ns = 0;      // standard deviation of a reading
  Nanoseconds sandwich_ns = 0;   // the two tick readings lie this far apart
  Nanoseconds max_error_ns = 0;  // what the source admits to
  double steering_ppb = 0.0;
};

class SimulatedSource final : public ClockSource {
 public:
  SimulatedSource(const SimulatedOscillator& oscillator, Nanoseconds start_tai_ns,
                  std::uint64_t seed);

  // Moves the truth on by `span_ns` of TAI; the oscillator ticks along.
  void advance(Nanoseconds span_ns);
  // A reading whose sandwich ends now. Noise beyond five standard deviations is cut off.
  [[nodiscard]] Result<ClockSample> sample() override;
  [[nodiscard]] std::string name() const override { return "simulated"; }

  [[nodiscard]] std::uint64_t ticks() const { return static_cast<std::uint64_t>(ticks_); }
  [[nodiscard]] Nanoseconds true_tai_ns() const { return tai_ns_; }
  SimulatedFaults& faults() { return faults_; }
  SimulatedOscillator& oscillator() { return oscillator_; }

 private:
  SimulatedOscillator oscillator_;
  SimulatedFaults faults_;
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  Nanoseconds tai_ns_;
  double drifted_ns_ = 0.0;
  long double ticks_ = 1e6L;
  [[nodiscard]] double flicker(double span_s);

  double frequency_ppb_;             // now: start, drift and walk together
  std::array<double, 8> flicker_{};  // first-order processes of 3 s to 10,000 s
};

}  // namespace driftlock
