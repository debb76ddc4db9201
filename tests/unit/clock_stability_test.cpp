// Deviations against published values: NBS14 and the 1000-point test set of NIST SP 1065 (W. J.
// Riley), to the digits given there.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "src/clock/stability.hpp"

namespace driftlock {
namespace {

std::vector<double> phase_of(const std::vector<double>& frequency) {
  std::vector<double> phase{0.0};
  for (const double y : frequency) phase.push_back(phase.back() + y);
  return phase;
}

// Frequency values of NBS Monograph 140, Annex 8.E.
std::vector<double> nbs14() {
  return phase_of({892, 809, 823, 798, 671, 644, 883, 903, 677});
}

// Prime-modulus congruential generator of SP 1065, 12.4.
std::vector<double> nist1000() {
  constexpr std::uint64_t kModulus = 2'147'483'647;
  std::vector<double> frequency;
  std::uint64_t n = 1'234'567'890;
  for (int i = 0; i < 1000; ++i) {
    frequency.push_back(static_cast<double>(n) / static_cast<double>(kModulus));
    n = 16'807 * n % kModulus;
  }
  return phase_of(frequency);
}

void expect_digits(double value, double published) {
  EXPECT_NEAR(value, published, 5e-6 * published);
}

TEST(Stability, Nbs14) {
  const auto x = nbs14();
  expect_digits(allan_deviation(x, 1.0, 1), 91.22945);
  expect_digits(allan_deviation(x, 1.0, 2), 115.8082);
  expect_digits(overlapping_allan_deviation(x, 1.0, 1), 91.22945);
  expect_digits(overlapping_allan_deviation(x, 1.0, 2), 85.95287);
  expect_digits(modified_allan_deviation(x, 1.0, 1), 91.22945);
  expect_digits(modified_allan_deviation(x, 1.0, 2), 74.78849);
  const Deviations two = deviations_at(x, 1.0, 2);
  expect_digits(two.tdev_s, 86.35831);
}

TEST(Stability, Nist1000) {
  const auto x = nist1000();
  expect_digits(allan_deviation(x, 1.0, 1), 2.922319e-01);
  expect_digits(allan_deviation(x, 1.0, 10), 9.965736e-02);
  expect_digits(allan_deviation(x, 1.0, 100), 3.897804e-02);
  expect_digits(overlapping_allan_deviation(x, 1.0, 10), 9.159953e-02);
  expect_digits(overlapping_allan_deviation(x, 1.0, 100), 3.241343e-02);
  expect_digits(modified_allan_deviation(x, 1.0, 10), 6.172376e-02);
  expect_digits(modified_allan_deviation(x, 1.0, 100), 2.170921e-02);
  expect_digits(deviations_at(x, 1.0, 10).tdev_s, 3.563623e-01);
  expect_digits(deviations_at(x, 1.0, 100).tdev_s, 1.253382e+00);
}

TEST(Stability, MtieIsTheLargestPeakToPeak) {
  const std::vector<double> x{0, 3, 1, -2, 4, 4, 0, 1};
  EXPECT_DOUBLE_EQ(maximum_time_interval_error(x, 1), 6.0);
  EXPECT_DOUBLE_EQ(maximum_time_interval_error(x, 3), 6.0);
  EXPECT_DOUBLE_EQ(maximum_time_interval_error({0, 1, 2, 3, 4}, 2), 2.0);
}

TEST(Stability, FitFindsTheNoiseItWasGiven) {
  std::vector<Deviations> deviations;
  for (double tau = 1.0; tau < 1e5; tau *= 2.0) {
    const double avar = 3.0 * 25.0 / (tau * tau) + 0.5 / tau + 1e-4 * tau / 3.0;
    Deviations at;
    at.tau_s = tau;
    at.oadev = std::sqrt(avar) * 1e-9;
    deviations.push_back(at);
  }
  const NoiseFit fit = fit_noise(deviations);
  EXPECT_NEAR(fit.white_phase_ns, 5.0, 0.05);
  EXPECT_NEAR(fit.process.q1, 0.5, 0.02);
  EXPECT_NEAR(fit.process.q2, 1e-4, 1e-5);
}

}  // namespace
}  // namespace driftlock
