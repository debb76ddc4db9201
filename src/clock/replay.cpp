#include "src/clock/replay.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include "src/base/assert.hpp"
#include "src/clock/replay_baseline.hpp"

namespace driftlock {
namespace {

constexpr double kTicksPerNs = 1024.0;  // finer than the noise of any clock
constexpr Nanoseconds kStartTaiNs = 1'700'000'000 * kSecond;
constexpr double kNoiseCut = 6.0;  // standard deviations: the noise has a hard limit as well

// The recorded clock counts the ticks; the reference is TAI.
class Record {
 public:
  Record(const std::vector<double>& phase_ns, const ReplayOptions& options) : options_(options) {
    std::mt19937_64 random(options.seed);
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> uniform;
    for (std::size_t k = 0; k < phase_ns.size(); ++k) {
      const double elapsed_ns = static_cast<double>(k) * options.interval_s * 1e9;
      true_ns_.push_back(elapsed_ns);
      // In two parts, so that a double's fraction is left for the phase.
      ticks_.push_back(
          static_cast<std::uint64_t>(elapsed_ns * kTicksPerNs) + (1ULL << 40) +
          static_cast<std::uint64_t>(std::llround((phase_ns[k] - phase_ns[0]) * kTicksPerNs)));
      double error = std::clamp(normal(random), -kNoiseCut, kNoiseCut) * options.noise_ns;
      if (uniform(random) < options.outlier_probability) error += options.outlier_ns;
      read_ns_.push_back(static_cast<Nanoseconds>(std::llround(elapsed_ns + error)));
    }
  }
  [[nodiscard]] std::size_t size() const { return ticks_.size(); }
  [[nodiscard]] ClockSample sample(std::size_t k) const {
    ClockSample sample;
    sample.ticks_before = sample.ticks_after = ticks_[k];
    sample.tai_ns = kStartTaiNs + read_ns_[k];
    sample.max_error_ns = static_cast<Nanoseconds>(
        std::ceil(kNoiseCut * options_.noise_ns + std::fabs(options_.outlier_ns)) + 1.0);
    sample.noise_ns = options_.noise_ns;
    sample.synchronized = true;
    return sample;
  }
  [[nodiscard]] std::uint64_t ticks(std::size_t k) const { return ticks_[k]; }
  [[nodiscard]] Nanoseconds true_tai_ns(std::size_t k) const {
    return kStartTaiNs + static_cast<Nanoseconds>(true_ns_[k]);
  }
  // Local time since the first sample, ns.
  [[nodiscard]] double local_ns(std::size_t k) const {
    return static_cast<double>(ticks_[k] - ticks_[0]) / kTicksPerNs;
  }
  // TAI less local time since the first sample: the truth, and as read.
  [[nodiscard]] double offset_ns(std::size_t k) const {
    return true_ns_[k] - static_cast<double>(read_ns_[0]) - local_ns(k);
  }
  [[nodiscard]] double read_offset_ns(std::size_t k) const {
    return static_cast<double>(read_ns_[k] - read_ns_[0]) - local_ns(k);
  }

 private:
  const ReplayOptions& options_;
  std::vector<double> true_ns_;
  std::vector<std::uint64_t> ticks_;
  std::vector<Nanoseconds> read_ns_;
};

struct Tally {
  double squares = 0.0;
  double statistical = 0.0;
  double hard = 0.0;
  std::uint64_t within = 0;
  std::uint64_t count = 0;
  std::uint64_t cold_within = 0;
  std::uint64_t cold_count = 0;
  std::uint64_t violations = 0;
};

void tally(Tally& sums, const Record& record, const ClockModel& model,
           const ClockSnapshot& snapshot, std::size_t now, std::size_t then, double horizon_s,
           bool warm) {
  const ForecastCurve curve = model.forecast(horizon_s);
  const double ahead_s = (record.local_ns(then) - record.local_ns(now)) * 1e-9;
  const double error = curve.mean_at(ahead_s) - record.offset_ns(then);
  const double half = kStatisticalSigmas * std::sqrt(curve.variance_at(ahead_s));
  const ClockReading reading = read_clock(snapshot, record.ticks(then));
  sums.violations += reading.tai.contains(record.true_tai_ns(then)) ? 0 : 1;
  const bool within = std::fabs(error) <= half;
  if (!warm) {
    ++sums.cold_count;
    sums.cold_within += within ? 1 : 0;
    return;
  }
  ++sums.count;
  sums.within += within ? 1 : 0;
  sums.squares += error * error;
  sums.statistical += half;
  sums.hard += static_cast<double>(reading.tai.half_width());
}

HorizonResult summary(const Tally& sums, double horizon_s) {
  const auto n = static_cast<double>(std::max<std::uint64_t>(sums.count, 1));
  const auto cold = static_cast<double>(std::max<std::uint64_t>(sums.cold_count, 1));
  HorizonResult result;
  result.horizon_s = horizon_s;
  result.forecasts = sums.count;
  result.rms_ns = std::sqrt(sums.squares / n);
  result.statistical_half_width_ns = sums.statistical / n;
  result.statistical_coverage = static_cast<double>(sums.within) / n;
  result.cold_coverage = static_cast<double>(sums.cold_within) / cold;
  result.hard_half_width_ns = sums.hard / n;
  result.hard_violations = sums.violations;
  return result;
}

std::size_t samples_in(double span_s, double interval_s) {
  return static_cast<std::size_t>(std::llround(span_s / interval_s));
}

void compare(ReplayResult& result, const Record& record, const ReplayOptions& options,
             std::size_t warm) {
  std::vector<double> offsets;
  for (std::size_t k = 0; k < record.size(); ++k) offsets.push_back(record.read_offset_ns(k));
  for (const Baseline& baseline : run_baselines(offsets, options.interval_s)) {
    BaselineResult line{baseline.name, {}};
    for (const double horizon : options.horizons_s) {
      const std::size_t steps = samples_in(horizon, options.interval_s);
      double squares = 0.0;
      std::size_t count = 0;
      for (std::size_t k = warm; k + steps < record.size(); ++k, ++count) {
        const double ahead_s = (record.local_ns(k + steps) - record.local_ns(k)) * 1e-9;
        const Belief& belief = baseline.after[k];
        const double error =
            belief.offset_ns + belief.frequency * ahead_s - record.offset_ns(k + steps);
        squares += error * error;
      }
      line.rms_ns.push_back(
          std::sqrt(squares / static_cast<double>(std::max<std::size_t>(count, 1))));
    }
    result.baselines.push_back(std::move(line));
  }
}

}  // namespace

std::vector<double> phase_from_frequency(const std::vector<double>& frequency, double interval_s) {
  std::vector<double> phase_ns{0.0};
  for (const double y : frequency) phase_ns.push_back(phase_ns.back() + y * interval_s * 1e9);
  return phase_ns;
}

ReplayResult replay(const std::vector<double>& phase_ns, const ReplayOptions& options) {
  DRIFTLOCK_ASSERT(phase_ns.size() > 2 && options.interval_s > 0.0);
  const Record record(phase_ns, options);
  const std::size_t warm =
      std::min(samples_in(options.warmup_s, options.interval_s), record.size() / 5);
  ClockModelOptions model_options;
  model_options.ns_per_tick = 1.0 / kTicksPerNs;
  model_options.worst_case_drift_ppb = options.worst_case_drift_ppb;
  model_options.lost_half_width_ns = kNever;
  model_options.estimator.bank.interval_s = options.interval_s;
  ClockModel model(model_options);
  std::vector<Tally> tallies(options.horizons_s.size());
  ReplayResult result;
  double nis = 0.0;
  double gated = 0.0;
  for (std::size_t k = 0; k < record.size(); ++k) {
    model.update(record.sample(k));
    const ClockSnapshot snapshot = model.snapshot();
    const bool is_warm = k >= warm;
    if (is_warm && model.state() != ClockState::kSuspect) {
      nis += model.estimator().nis();
      gated += 1.0;
    }
    for (std::size_t i = 0; i < tallies.size() && k > 0; ++i) {
      const std::size_t then = k + samples_in(options.horizons_s[i], options.interval_s);
      if (then >= record.size()) continue;
      tally(tallies[i], record, model, snapshot, k, then, options.horizons_s[i], is_warm);
    }
  }
  for (std::size_t i = 0; i < tallies.size(); ++i) {
    result.horizons.push_back(summary(tallies[i], options.horizons_s[i]));
  }
  const ClockStatus status = model.status();
  result.nis = nis / std::max(gated, 1.0);
  result.warmup_s = static_cast<double>(warm) * options.interval_s;
  result.learned_noise_ns = status.measurement_sigma_ns;
  result.learned = status.noise;
  result.suspicious = status.suspicious;
  result.steps = status.steps;
  if (options.baselines) compare(result, record, options, warm);
  return result;
}

}  // namespace driftlock
