#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <random>

#include "src/clock/kalman.hpp"

namespace driftlock {
namespace {

TEST(Kalman, PredictMovesOffsetByFrequencyAndDrift) {
  KalmanFilter<3> filter;
  filter.reset({10.0, 2.0, 0.5}, {1.0, 1.0, 1.0});
  filter.predict(4.0, {});
  EXPECT_DOUBLE_EQ(filter.state(0), 10.0 + 8.0 + 4.0);
  EXPECT_DOUBLE_EQ(filter.state(1), 4.0);
  EXPECT_DOUBLE_EQ(filter.state(2), 0.5);
  // F P F' of a unit covariance.
  EXPECT_DOUBLE_EQ(filter.covariance(0, 0), 1.0 + 16.0 + 64.0);
  EXPECT_DOUBLE_EQ(filter.covariance(0, 1), 4.0 + 8.0 * 4.0);
}

// The filter is written out by hand for its few states; here are the textbook's matrices.
TEST(Kalman, IsWhatTheMatricesSay) {
  using Matrix = Eigen::Matrix3d;
  const double t = 1.5;
  const double r = 4.0;
  KalmanFilter<3> filter;
  filter.reset({1.0, 2.0, 3.0}, {5.0, 6.0, 7.0});
  Eigen::Vector3d x(1.0, 2.0, 3.0);
  Matrix p = Eigen::Vector3d(5.0, 6.0, 7.0).asDiagonal();
  Matrix f = Matrix::Identity();
  f(0, 1) = f(1, 2) = t;
  f(0, 2) = t * t / 2;
  for (const double z : {4.0, 30.0, -8.0}) {
    filter.predict(t, {0.3, 0.2, 0.1});
    KalmanFilter<3> noise_alone;
    noise_alone.predict(t, {0.3, 0.2, 0.1});
    x = (f * x).eval();
    p = (f * p * f.transpose()).eval();
    for (int i = 0; i < 9; ++i) p(i / 3, i % 3) += noise_alone.covariance(i / 3, i % 3);
    const Eigen::Vector3d gain = p.col(0) / (p(0, 0) + r);
    x += gain * (z - x(0));
    const Matrix a = Matrix::Identity() - gain * Eigen::RowVector3d(1.0, 0.0, 0.0);
    p = (a * p * a.transpose() + r * gain * gain.transpose()).eval();
    filter.update(filter.innovation(z, r), r);
    for (int i = 0; i < 3; ++i) {
      EXPECT_NEAR(filter.state(i), x(i), 1e-9);
      for (int j = 0; j < 3; ++j) EXPECT_NEAR(filter.covariance(i, j), p(i, j), 1e-9);
    }
  }
}

// Continuous noise: two half steps add up to one whole step.
TEST(Kalman, NoiseDoesNotDependOnHowTheStepIsCut) {
  const ProcessNoise noise{3.0, 0.2, 0.01};
  KalmanFilter<3> once;
  KalmanFilter<3> twice;
  once.predict(10.0, noise);
  twice.predict(3.0, noise);
  twice.predict(7.0, noise);
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column) {
      EXPECT_NEAR(once.covariance(row, column), twice.covariance(row, column), 1e-9);
    }
  }
}

template <int kStates>
void expect_forecast_as_predicted(const std::array<double, kStates>& variance) {
  const ProcessNoise noise{3.0, 0.2, 0.01};
  KalmanFilter<kStates> filter;
  filter.reset({}, variance);
  filter.predict(2.0, noise);
  const auto v = filter.forecast_variance(noise);
  double foreseen = 0.0;
  for (std::size_t i = v.size(); i-- > 0;) foreseen = foreseen * 5.0 + v[i];
  filter.predict(5.0, noise);
  EXPECT_NEAR(filter.covariance(0, 0), foreseen, 1e-9 * foreseen);
}

TEST(Kalman, ForecastVarianceIsThatOfPredict) {
  expect_forecast_as_predicted<2>({4.0, 2.0});
  expect_forecast_as_predicted<3>({4.0, 2.0, 0.1});
}

TEST(Kalman, FindsFrequencyAndIsHonestAboutIt) {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal(0.0, 10.0);
  KalmanFilter<2> filter;
  filter.reset({0.0, 0.0}, {1e6, 1e6});
  double nis = 0.0;
  for (int k = 1; k <= 1000; ++k) {
    filter.predict(1.0, {});
    const Innovation innovation = filter.innovation(123.0 * k + normal(random), 100.0);
    nis += innovation.nis() / 1000.0;
    filter.update(innovation, 100.0);
  }
  EXPECT_NEAR(filter.state(1), 123.0, 5.0 * std::sqrt(filter.covariance(1, 1)));
  EXPECT_NEAR(nis, 1.0, 0.2);
  EXPECT_DOUBLE_EQ(filter.covariance(0, 1), filter.covariance(1, 0));
}

}  // namespace
}  // namespace driftlock
