#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "src/clock/estimator.hpp"
#include "src/clock/fault_run.hpp"
#include "src/clock/replay.hpp"
#include "src/clock/window_forecasts.hpp"

namespace driftlock {
namespace {

// A frequency that wanders at random, as phase in ns, one value a second.
std::vector<double> wandering_clock(std::size_t samples, double white_ns, double walk) {
  std::mt19937_64 random(11);
  std::normal_distribution<double> normal;
  std::vector<double> phase{0.0};
  double frequency = 40.0;
  for (std::size_t k = 1; k < samples; ++k) {
    frequency += walk * normal(random);
    phase.push_back(phase.back() + frequency + white_ns * normal(random));
  }
  return phase;
}

TEST(FilterBank, LearnsTheNoiseWithoutBeingTold) {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  for (const double sigma : {0.1, 10.0, 1e5}) {
    FilterBank<2> bank({});
    bank.start(sigma * normal(random));
    for (int k = 1; k < 600; ++k) {
      bank.coast(1.0);
      bank.observe(17.0 * k + sigma * normal(random), 1.0);
    }
    EXPECT_NEAR(std::sqrt(bank.measurement_variance(1.0)), sigma, 0.1 * sigma);
    EXPECT_NEAR(bank.curve(1.0).mean[1], 17.0, 0.05 * sigma);
  }
}

TEST(FilterBank, IsWideWhileLittleIsKnown) {
  FilterBank<2> bank({});
  bank.start(0.0);
  EXPECT_GE(bank.curve(100.0).variance[0], 99.9);
  for (int k = 1; k <= 3; ++k) {
    bank.coast(1.0);
    bank.observe(k % 2 == 0 ? 1.0 : -1.0, 1.0);
    EXPECT_GT(bank.curve(100.0).variance_at(1.0), 9.0) << k;
  }
}

TEST(Estimator, OutliersAreGatedAndAStepIsBelieved) {
  OffsetEstimator estimator({});
  std::mt19937_64 random(6);
  std::normal_distribution<double> normal(0.0, 10.0);
  const auto sample = [&](double offset) {
    estimator.coast(1.0);
    return estimator.observe(offset + normal(random), 1.0, 1e6);
  };
  for (int k = 0; k < 500; ++k) sample(0.0);
  EXPECT_EQ(sample(2'000.0), Verdict::kSuspicious);
  EXPECT_GT(estimator.curve(1.0).variance_at(0.0), 1e6);
  EXPECT_NEAR(estimator.curve(1.0).mean[0], 0.0, 10.0);
  EXPECT_EQ(sample(0.0), Verdict::kAccepted);
  EXPECT_LT(estimator.curve(1.0).variance_at(0.0), 100.0);
  for (int k = 0; k < 7; ++k) EXPECT_EQ(sample(50'000.0), Verdict::kSuspicious);
  EXPECT_EQ(sample(50'000.0), Verdict::kStepped);
  for (int k = 0; k < 20; ++k) EXPECT_EQ(sample(50'000.0), Verdict::kAccepted);
  EXPECT_NEAR(estimator.curve(1.0).mean[0], 50'000.0, 20.0);
}

TEST(Replay, BeatsTheBaselinesWithBoundsThatHold) {
  ReplayOptions options;
  options.noise_ns = 10.0;
  options.horizons_s = {10.0, 100.0};
  options.warmup_s = 500.0;
  options.baselines = true;
  const ReplayResult result = replay(wandering_clock(2500, 0.1, 0.002), options);
  ASSERT_EQ(result.horizons.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    const HorizonResult& at = result.horizons[i];
    EXPECT_EQ(at.hard_violations, 0U);
    EXPECT_GE(at.statistical_coverage, 0.999);
    EXPECT_GE(at.cold_coverage, 0.999);
    for (const BaselineResult& line : result.baselines) {
      EXPECT_LE(at.rms_ns, line.rms_ns[i] * 1.1) << line.name;
    }
  }
  EXPECT_NEAR(result.nis, 1.0, 0.2);
  EXPECT_NEAR(result.learned_noise_ns, 10.0, 1.0);
}

TEST(Replay, OutliersHardlyMatter) {
  ReplayOptions options;
  options.noise_ns = 10.0;
  options.horizons_s = {100.0};
  options.warmup_s = 500.0;
  const auto phase = wandering_clock(2000, 0.1, 0.002);
  const double clean = replay(phase, options).horizons[0].rms_ns;
  options.outlier_probability = 0.02;
  options.outlier_ns = 2'000.0;
  const ReplayResult dirty = replay(phase, options);
  EXPECT_LT(dirty.horizons[0].rms_ns, 1.3 * clean);
  EXPECT_EQ(dirty.horizons[0].hard_violations, 0U);
  EXPECT_GT(dirty.suspicious, 20U);
}

// A clock whose phase a servo keeps: no sum of the model's noises, and a line through many samples
// foresees it best from a minute on.
TEST(Replay, AServosClockIsForeseenAsWellAsByARegression) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  std::vector<double> phase{0.0};
  double pull = 0.0;
  for (std::size_t k = 1; k < 2000; ++k) {
    pull = 0.5 * pull - 0.1 * phase.back();
    phase.push_back(phase.back() + pull + 100.0 * normal(random));
  }
  ReplayOptions options;
  options.horizons_s = {100.0, 300.0};
  options.baselines = true;
  const ReplayResult result = replay(phase, options);
  for (std::size_t i = 0; i < 2; ++i) {
    double best = 1e300;
    for (const BaselineResult& line : result.baselines) best = std::min(best, line.rms_ns[i]);
    EXPECT_LE(result.horizons[i].rms_ns, 1.25 * best);
    EXPECT_GE(result.horizons[i].statistical_coverage, 0.999);
  }
}

// The same servo, thrown off for a while every few minutes: what it did once it may do again. And
// forecasts know no unit: a clock that is so many times worse is foreseen so many times worse.
TEST(Replay, BurstsAreInTheBoundWhateverTheirScale) {
  const auto bursts = [](double scale) {
    std::mt19937_64 random(9);
    std::normal_distribution<double> normal;
    std::vector<double> phase{0.0};
    double pull = 0.0;
    for (std::size_t k = 1; k < 2400; ++k) {
      const double thrown = k % 190 < 12 ? 100.0 : 0.0;
      pull = 0.5 * pull - 0.1 * phase.back() / scale;
      phase.push_back(phase.back() + scale * (pull + thrown + 20.0 * normal(random)));
    }
    ReplayOptions options;
    options.horizons_s = {10.0, 100.0};
    return replay(phase, options).horizons;
  };
  const std::vector<HorizonResult> small = bursts(1.0);
  const std::vector<HorizonResult> large = bursts(50.0);
  for (std::size_t i = 0; i < small.size(); ++i) {
    EXPECT_GE(small[i].statistical_coverage, 0.999) << small[i].horizon_s;
    EXPECT_NEAR(large[i].rms_ns / small[i].rms_ns, 50.0, 0.5) << small[i].horizon_s;
  }
}

// White phase noise of the clock itself cannot be told from the source's: the bound holds it,
// unless the source says that the noise is its own.
TEST(Replay, TheBoundHoldsAClocksOwnJitter) {
  std::mt19937_64 random(4);
  std::normal_distribution<double> normal(0.0, 15.0);
  std::vector<double> phase;
  for (std::size_t k = 0; k < 1000; ++k) phase.push_back(normal(random));
  ReplayOptions options;
  options.horizons_s = {10.0, 100.0};
  for (const HorizonResult& at : replay(phase, options).horizons) {
    EXPECT_GE(at.statistical_coverage, 0.999) << at.horizon_s;
    EXPECT_LT(at.statistical_half_width_ns, 200.0) << at.horizon_s;
  }
}

TEST(WindowForecasts, AreTheLinesThroughTheirSamples) {
  std::mt19937_64 random(8);
  std::normal_distribution<double> normal(0.0, 5.0);
  WindowForecasts windows;
  std::vector<double> z;
  // More than a turn of the ring, at 20 ppm.
  for (std::size_t k = 0; k < 16'400; ++k) {
    z.push_back(2e4 * static_cast<double>(k) + normal(random));
    windows.add(static_cast<double>(k), z.back(), z.back());
  }
  for (std::size_t i = 0; i < WindowForecasts::kRegressions; ++i) {
    const std::size_t n = WindowForecasts::samples(i);
    double t = 0.0, tt = 0.0, sum = 0.0, tz = 0.0;
    for (std::size_t age = 0; age < n; ++age) {
      const double x = -static_cast<double>(age);
      const double y = z[z.size() - 1 - age] - z.back();
      t += x, tt += x * x, sum += y, tz += x * y;
    }
    const auto count = static_cast<double>(n);
    const double slope = (count * tz - t * sum) / (count * tt - t * t);
    const ForecastMean mean = windows.mean(i, static_cast<double>(z.size() - 1));
    EXPECT_NEAR(mean[1], slope, 1e-6) << n;
    EXPECT_NEAR(mean[0], z.back() + (sum - slope * t) / count, 1e-3) << n;
  }
  const ForecastMean rate = windows.mean(WindowForecasts::kRegressions, 16'399.0 + 10.0);
  EXPECT_NEAR(rate[1], (z.back() - z[z.size() - 128]) / 127.0, 1e-9);
  EXPECT_NEAR(rate[0], z.back() + 10.0 * rate[1], 1e-6);
}

TEST(FaultRun, TheHardBoundHoldsThroughFaults) {
  for (const OscillatorNoise noise :
       {OscillatorNoise::kWhitePhase, OscillatorNoise::kWhiteFrequency,
        OscillatorNoise::kFlickerFrequency, OscillatorNoise::kWalk, OscillatorNoise::kDrift}) {
    FaultRunOptions options;
    options.noise = noise;
    options.samples = 2'000;
    options.faults_per_sample = 0.02;
    const FaultRunResult result = run_with_faults(options);
    EXPECT_EQ(result.violations, 0U) << to_string(noise);
    EXPECT_GT(result.faults, 3U) << to_string(noise);
    EXPECT_LT(result.lost, result.readings / 2) << to_string(noise);
  }
}

}  // namespace
}  // namespace driftlock
