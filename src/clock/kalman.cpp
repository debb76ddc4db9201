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

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

// Written out for the few states there are: hundreds of these filters run at every sample.
template <std::size_t N>
using Square = std::array<double, N * N>;

template <std::size_t N>
Square<N> process_noise(double t, const ProcessNoise& q) {
  const double t2 = t * t;
  const double t3 = t2 * t;
  Square<N> m;
  m[0] = q.q1 * t + q.q2 * t3 / 3;
  m[1] = q.q2 * t2 / 2;
  m[N + 1] = q.q2 * t;
  if constexpr (N > 2) {
    m[0] += q.q3 * t3 * t2 / 20;
    m[1] += q.q3 * t2 * t2 / 8;
    m[4] += q.q3 * t3 / 3;
    m[2] = m[6] = q.q3 * t3 / 6;
    m[5] = m[7] = q.q3 * t2 / 2;
    m[8] = q.q3 * t;
  }
  m[N] = m[1];
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

// F P F' by adding rows and columns, since F is the identity and what lies above it.
template <int N>
void KalmanFilter<N>::predict(double dt_s, const ProcessNoise& noise) {
  DRIFTLOCK_ASSERT(dt_s >= 0.0);
  constexpr auto kN = static_cast<std::size_t>(N);
  auto& x = state_;
  auto& p = covariance_;
  const double t = dt_s;
  const double half = t * t / 2;
  if constexpr (N == 2) {
    x[0] += t * x[1];
    p[0] += t * (2 * p[1] + t * p[3]);
    p[1] += t * p[3];
    p[2] = p[1];
  } else {
    x[0] += t * x[1] + half * x[2];
    x[1] += t * x[2];
    for (std::size_t j = 0; j < kN; ++j) {
      p[j] += t * p[kN + j] + half * p[2 * kN + j];
      p[kN + j] += t * p[2 * kN + j];
    }
    for (std::size_t i = 0; i < kN; ++i) {
      double* row = &p[i * kN];
      row[0] += t * row[1] + half * row[2];
      row[1] += t * row[2];
    }
  }
  const Square<kN> q = process_noise<kN>(t, noise);
  for (std::size_t i = 0; i < q.size(); ++i) p[i] += q[i];
}

// Joseph's form: A P A' + K R K' with A = I - K H, H = [1 0 0].
template <int N>
void KalmanFilter<N>::update(const Innovation& innovation, double measurement_variance_ns2) {
  constexpr auto kN = static_cast<std::size_t>(N);
  auto& p = covariance_;
  std::array<double, kN> gain;
  for (std::size_t i = 0; i < kN; ++i) {
    gain[i] = p[i * kN] / innovation.variance_ns2;
    state_[i] += gain[i] * innovation.value_ns;
  }
  Square<kN> ap;
  for (std::size_t i = 0; i < kN; ++i) {
    for (std::size_t j = 0; j < kN; ++j) ap[i * kN + j] = p[i * kN + j] - gain[i] * p[j];
  }
  for (std::size_t i = 0; i < kN; ++i) {
    for (std::size_t j = i; j < kN; ++j) {
      const double joseph =
          ap[i * kN + j] - ap[i * kN] * gain[j] + gain[i] * gain[j] * measurement_variance_ns2;
      p[i * kN + j] = p[j * kN + i] = joseph;
    }
  }
}

template <int N>
void KalmanFilter<N>::restart_offset(double offset_ns, double variance_ns2,
                                     double frequency_variance) {
  constexpr auto kN = static_cast<std::size_t>(N);
  state_[0] = offset_ns;
  for (std::size_t i = 0; i < kN; ++i) covariance_[i] = covariance_[i * kN] = 0.0;
  covariance_[0] = variance_ns2;
  covariance_[kN + 1] += frequency_variance;
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
