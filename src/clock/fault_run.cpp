#include "src/clock/fault_run.hpp"

#include <array>
#include <cmath>
#include <random>

#include "src/clock/simulated_source.hpp"

namespace driftlock {
namespace {

constexpr Nanoseconds kStartTaiNs = 1'700'000'000 * kSecond;
constexpr Nanoseconds kNoiseNs = 50;
constexpr Nanoseconds kSandwichNs = 200;
constexpr Nanoseconds kErrorNs = 1'000;      // what the source admits to
constexpr Nanoseconds kAsymmetryNs = 2'000;  // the budget

struct Named {
  OscillatorNoise noise;
  std::string_view name;
};
constexpr std::array<Named, 5> kNames{{{OscillatorNoise::kWhitePhase, "white-phase"},
                                       {OscillatorNoise::kWhiteFrequency, "white-frequency"},
                                       {OscillatorNoise::kFlickerFrequency, "flicker-frequency"},
                                       {OscillatorNoise::kWalk, "random-walk-frequency"},
                                       {OscillatorNoise::kDrift, "drift"}}};

SimulatedOscillator oscillator_of(OscillatorNoise noise) {
  SimulatedOscillator o;
  o.ns_per_tick = 0.4;
  o.frequency_ppb = 12'000.0;
  switch (noise) {
    case OscillatorNoise::kWhitePhase:
      break;
    case OscillatorNoise::kWhiteFrequency:
      o.white_ppb = 5.0;
      break;
    case OscillatorNoise::kFlickerFrequency:
      o.flicker_ppb = 2.0;
      break;
    case OscillatorNoise::kWalk:
      o.walk_ppb = 0.5;
      break;
    case OscillatorNoise::kDrift:
      o.white_ppb = 0.5;
      o.drift_ppb_per_s = 0.005;
      break;
  }
  return o;
}

class Run {
 public:
  explicit Run(const FaultRunOptions& options)
      : options_(options),
        source_(oscillator_of(options.noise), kStartTaiNs, options.seed),
        model_(model_options(options)),
        random_(options.seed + 1) {
    healthy();
  }

  FaultRunResult result() {
    for (std::uint64_t k = 0; k < options_.samples; ++k) {
      if (remaining_ > 0 && --remaining_ == 0) healthy();
      if (remaining_ == 0 && uniform_(random_) < options_.faults_per_sample) break_something();
      wait();
      step();
    }
    const auto n = static_cast<double>(result_.readings - result_.lost);
    result_.mean_hard_half_width_ns /= n;
    result_.mean_statistical_half_width_ns /= n;
    result_.rms_ns = std::sqrt(result_.rms_ns / n);
    result_.steps = model_.status().steps;
    result_.suspicious = model_.status().suspicious;
    return result_;
  }

 private:
  static ClockModelOptions model_options(const FaultRunOptions& options) {
    ClockModelOptions model;
    model.ns_per_tick = 0.4;
    model.asymmetry_ns = kAsymmetryNs;
    model.estimator.bank.interval_s = options.interval_s;
    return model;
  }

  void healthy() {
    source_.faults() = {};
    source_.faults().noise_ns = kNoiseNs;
    source_.faults().sandwich_ns = kSandwichNs;
    source_.faults().max_error_ns = kErrorNs;
  }

  void break_something() {
    ++result_.faults;
    SimulatedFaults& faults = source_.faults();
    const double sign = uniform_(random_) < 0.5 ? -1.0 : 1.0;
    switch (static_cast<int>(uniform_(random_) * 5.0)) {
      case 0:  // source lost
        faults.unreadable = true;
        remaining_ = pick(10, 600);
        break;
      case 1:  // asymmetric path
        faults.offset_ns = static_cast<Nanoseconds>(sign * kAsymmetryNs * uniform_(random_));
        remaining_ = pick(50, 2000);
        break;
      case 2:  // a wrong time, admitted; its end is the step
        faults.offset_ns = static_cast<Nanoseconds>(sign * 3e6 * uniform_(random_));
        faults.max_error_ns = kErrorNs + 3 * kMillisecond;
        remaining_ = pick(20, 500);
        break;
      case 3:  // pause
        pause_s_ = uniform_(random_) * 300.0;
        break;
      default:  // a lie
        faults.offset_ns = static_cast<Nanoseconds>(sign * 1e6 * uniform_(random_));
        remaining_ = pick(1, 3) + 1;
        break;
    }
  }

  [[nodiscard]] std::uint64_t pick(std::uint64_t least, std::uint64_t most) {
    return std::uniform_int_distribution<std::uint64_t>(least, most)(random_);
  }

  // Up to the next sample, reading the published clock on the way.
  void wait() {
    const double span_s = options_.interval_s + pause_s_;
    pause_s_ = 0.0;
    since_bias_s_ = source_.faults().offset_ns != 0 ? 0.0 : since_bias_s_ + options_.interval_s;
    const auto half = static_cast<Nanoseconds>(span_s * 0.5e9);
    for (int i = 0; i < 2; ++i) {
      source_.advance(half);
      read();
    }
  }

  void step() {
    const auto sample = source_.sample();
    if (sample.ok()) {
      model_.update(sample.value());
    } else {
      model_.missed(source_.ticks());
    }
    snapshot_ = model_.snapshot();
    read();
  }

  void read() {
    const ClockReading reading = read_clock(snapshot_, source_.ticks());
    ++result_.readings;
    if (reading.state == ClockState::kLost) {
      ++result_.lost;
      return;
    }
    const Nanoseconds truth = source_.true_tai_ns();
    const auto error = static_cast<double>(reading.estimate_ns - truth);
    const double half = kStatisticalSigmas * static_cast<double>(reading.sigma_ns + 1);
    result_.violations += reading.tai.contains(truth) ? 0 : 1;
    const bool outside = std::fabs(error) > half;
    result_.outside += outside ? 1 : 0;
    if (since_bias_s_ > 60.0) {
      ++result_.unbiased;
      result_.unbiased_outside += outside ? 1 : 0;
    }
    result_.rms_ns += error * error;
    result_.mean_hard_half_width_ns += static_cast<double>(reading.tai.half_width());
    result_.mean_statistical_half_width_ns += half;
  }

  FaultRunOptions options_;
  SimulatedSource source_;
  ClockModel model_;
  ClockSnapshot snapshot_;
  FaultRunResult result_;
  std::mt19937_64 random_;
  std::uniform_real_distribution<double> uniform_;
  std::uint64_t remaining_ = 0;  // samples until the fault ends
  double pause_s_ = 0.0;
  double since_bias_s_ = 0.0;
};

}  // namespace

std::optional<OscillatorNoise> parse_oscillator_noise(std::string_view name) {
  for (const Named& named : kNames) {
    if (named.name == name) return named.noise;
  }
  return std::nullopt;
}

std::string_view to_string(OscillatorNoise noise) {
  for (const Named& named : kNames) {
    if (named.noise == noise) return named.name;
  }
  return "?";
}

FaultRunResult run_with_faults(const FaultRunOptions& options) {
  return Run(options).result();
}

}  // namespace driftlock
