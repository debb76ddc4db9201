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
// spacing. With two states the third row and column, and q3, are left out. The update is Joseph's:
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

template <int N>
using Matrix = Eigen::Matrix<double, N, N, Eigen::RowMajor>;
template <int N>
using Vector = Eigen::Matrix<double, N, 1>;

template <int N>
Matrix<N> transition(double t) {
  Matrix<N> f = Matrix<N>::Identity();
  f(0, 1) = t;
  if constexpr (N > 2) {
    f(0, 2) = t * t / 2;
    f(1, 2) = t;
  }
  return f;
}

template <int N>
Matrix<N> process_noise(double t, const ProcessNoise& q) {
  const double t2 = t * t;
  const double t3 = t2 * t;
  Matrix<N> m;
  m(0, 0) = q.q1 * t + q.q2 * t3 / 3;
  m(0, 1) = q.q2 * t2 / 2;
  m(1, 1) = q.q2 * t;
  if constexpr (N > 2) {
    m(0, 0) += q.q3 * t3 * t2 / 20;
    m(0, 1) += q.q3 * t2 * t2 / 8;
    m(1, 1) += q.q3 * t3 / 3;
    m(0, 2) = m(2, 0) = q.q3 * t3 / 6;
    m(1, 2) = m(2, 1) = q.q3 * t2 / 2;
    m(2, 2) = q.q3 * t;
  }
  m(1, 0) = m(0, 1);
  return m;
}

}  // namespace

template <int N>
void KalmanFilter<N>::reset(const std::array<double, N>& state,
                            const std::array<double, N>& variance) {
  state_ = state;
  covariance_.fill(0.0);
  for (std::size_t i = 0; i < N; ++i) covariance_[i * (N + 1)] = variance[i];
}

template <int N>
void KalmanFilter<N>::predict(double dt_s, const ProcessNoise& noise) {
  DRIFTLOCK_ASSERT(dt_s >= 0.0);
  Eigen::Map<Vector<N>> x(state_.data());
  Eigen::Map<Matrix<N>> p(covariance_.data());
  const Matrix<N> f = transition<N>(dt_s);
  x = (f * x).eval();
  p = (f * p * f.transpose()).eval() + process_noise<N>(dt_s, noise);
}

template <int N>
void KalmanFilter<N>::update(const Innovation& innovation, double measurement_variance_ns2) {
  Eigen::Map<Vector<N>> x(state_.data());
  Eigen::Map<Matrix<N>> p(covariance_.data());
  const Vector<N> gain = p.col(0) / innovation.variance_ns2;
  x += gain * innovation.value_ns;
  Matrix<N> a = Matrix<N>::Identity();
  a.col(0) -= gain;
  const Matrix<N> joseph =
      a * p * a.transpose() + gain * gain.transpose() * measurement_variance_ns2;
  p = 0.5 * (joseph + joseph.transpose());
}

template <int N>
void KalmanFilter<N>::restart_offset(double offset_ns, double variance_ns2,
                                     double frequency_variance) {
  Eigen::Map<Matrix<N>> p(covariance_.data());
  state_[0] = offset_ns;
  p.row(0).setZero();
  p.col(0).setZero();
  p(0, 0) = variance_ns2;
  p(1, 1) += frequency_variance;
}

// Var(x + y t + d t^2/2) by powers of t, with what Q adds.
template <int N>
std::array<double, 6> KalmanFilter<N>::forecast_variance(const ProcessNoise& noise) const {
  std::array<double, 6> v{covariance(0, 0), 2 * covariance(0, 1) + noise.q1, covariance(1, 1),
                          noise.q2 / 3};
  if constexpr (N > 2) {
    v[2] += covariance(0, 2);
    v[3] += covariance(1, 2);
    v[4] = covariance(2, 2) / 4;
    v[5] = noise.q3 / 20;
  }
  return v;
}

template class KalmanFilter<2>;
template class KalmanFilter<3>;

}  // namespace driftlock
