// The clock's Kalman filter.
//
//   state     X = [x, y, d]'   x offset of the source from the local timescale, ns
//                              y its frequency, ns/s (1 ns/s = 1 ppb = 1e-9 s/s)
//                              d its drift, ns/s^2 (three-state filter only)
//   dynamics  dx = y dt + dW1,  dy = d dt + dW2,  dd = dW3,  Wi Brownian of power qi
//                  | 1  t  t^2/2 |
//             F =  | 0  1  t     |
//                  | 0  0  1     |
//                  | q1 t + q2 t^3/3 + q3 t^5/20   q2 t^2/2 + q3 t^4/8   q3 t^3/6 |
//             Q =  |           .                   q2 t     + q3 t^3/3   q3 t^2/2 |
//                  |           .                           .             q3 t     |
//   measured  z = H X + v,  H = [1 0 0],  var v = R
//
// Q is the exact integral of F(s) diag(q) F(s)' over the step, so that samples may come at any
// spacing. With two states the third row and column are left out. The update is Joseph's:
// P = (I - KH) P (I - KH)' + K R K', positive semidefinite for any gain.
//
// Source: L. Galleani, "A tutorial on the two-state model of the atomic clock noise", Metrologia 45
// (2008) S175; R. G. Brown, P. Hwang, "Introduction to Random Signals and Applied Kalman
// Filtering".
#include "src/clock/kalman.hpp"

#include <Eigen/Core>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

constexpr int kMax = KalmanFilter::kMaxStates;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, 0, kMax, kMax>;
using Vector = Eigen::Matrix<double, Eigen::Dynamic, 1, 0, kMax, 1>;
using Stored = Eigen::Map<Eigen::Matrix<double, kMax, kMax, Eigen::RowMajor>>;

Matrix transition(double t) {
  Matrix f(kMax, kMax);
  f << 1, t, t * t / 2, 0, 1, t, 0, 0, 1;
  return f;
}

Matrix process_noise(double t, const ProcessNoise& q) {
  const double t2 = t * t;
  const double t3 = t2 * t;
  Matrix m(kMax, kMax);
  m(0, 0) = q.q1 * t + q.q2 * t3 / 3 + q.q3 * t3 * t2 / 20;
  m(0, 1) = m(1, 0) = q.q2 * t2 / 2 + q.q3 * t2 * t2 / 8;
  m(0, 2) = m(2, 0) = q.q3 * t3 / 6;
  m(1, 1) = q.q2 * t + q.q3 * t3 / 3;
  m(1, 2) = m(2, 1) = q.q3 * t2 / 2;
  m(2, 2) = q.q3 * t;
  return m;
}

}  // namespace

KalmanFilter::KalmanFilter(int states) : states_(states) {
  DRIFTLOCK_ASSERT(states == 2 || states == kMax);
}

void KalmanFilter::reset(const std::array<double, kMaxStates>& state,
                         const std::array<double, kMaxStates>& variance) {
  state_ = state;
  covariance_.fill(0.0);
  for (std::size_t i = 0; i < kMaxStates; ++i) covariance_[i * kMaxStates + i] = variance[i];
}

void KalmanFilter::predict(double dt_s, const ProcessNoise& noise) {
  DRIFTLOCK_ASSERT(dt_s >= 0.0);
  const int n = states_;
  Eigen::Map<Eigen::Vector3d> all(state_.data());
  Stored stored(covariance_.data());
  const Matrix f = transition(dt_s).topLeftCorner(n, n);
  const Vector x = all.head(n);
  const Matrix p = stored.topLeftCorner(n, n);
  const ProcessNoise driven{noise.q1, noise.q2, n > 2 ? noise.q3 : 0.0};
  all.head(n) = f * x;
  stored.topLeftCorner(n, n) =
      f * p * f.transpose() + process_noise(dt_s, driven).topLeftCorner(n, n);
}

Innovation KalmanFilter::innovation(double offset_ns, double variance_ns2) const {
  return {offset_ns - state_[0], covariance_[0] + variance_ns2};
}

void KalmanFilter::update(const Innovation& innovation, double measurement_variance_ns2) {
  const int n = states_;
  Eigen::Map<Eigen::Vector3d> all(state_.data());
  Stored stored(covariance_.data());
  const Matrix p = stored.topLeftCorner(n, n);
  const Vector gain = p.col(0) / innovation.variance_ns2;
  all.head(n) += gain * innovation.value_ns;
  Matrix a = Matrix::Identity(n, n);
  a.col(0) -= gain;
  const Matrix joseph = a * p * a.transpose() + gain * gain.transpose() * measurement_variance_ns2;
  stored.topLeftCorner(n, n) = 0.5 * (joseph + joseph.transpose());
}

std::array<double, 6> KalmanFilter::forecast_variance(const ProcessNoise& noise) const {
  const bool drift = states_ > 2;
  const double p02 = drift ? covariance(0, 2) : 0.0;
  const double p12 = drift ? covariance(1, 2) : 0.0;
  const double p22 = drift ? covariance(2, 2) : 0.0;
  return {
      covariance(0, 0), 2 * covariance(0, 1) + noise.q1, covariance(1, 1) + p02, p12 + noise.q2 / 3,
      p22 / 4,          drift ? noise.q3 / 20 : 0.0};
}

}  // namespace driftlock
