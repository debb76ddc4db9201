// Learning q and R online.
//
// A Kalman filter's gain depends on the ratios a = q1/R, b = q2/R, c = q3/R only. The bank holds
// one filter for each point of a coarse logarithmic grid of ratios, in units of the sampling
// interval T: a T, b T^3, c T^5 from "all noise is the source's" to "all noise is the
// oscillator's". With R = 1 in the filter, innovation nu and variance S, the maximum-likelihood
// scale is R = sum(nu^2/S) / n, and the log likelihood, concentrated over R,
//
//   L = -(n log R + sum log S) / 2.
//
// Weights are proportional to exp L (equal priors), with old samples discounted. What is published
// is the mixture: mean sum(w m), variance sum(w (R P + (m - mean)^2)), so that doubt about the
// noise itself shows. Flicker has no finite state; the mixture of memories of different length
// stands for it, as a sum of first-order processes does.
//
// While few innovations stand behind R, it is widened by the ratio of Student's to Gauss's
// quantile (two-sided 99.9%), so that a bound of k sigma covers from the first samples.
//
// Source: P. S. Maybeck, "Stochastic Models, Estimation and Control" vol. 2, ch. 10 (multiple model
// estimation); F. C. Schweppe, "Evaluation of likelihood functions for Gaussian signals", 1965.
#include "src/clock/filter_bank.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

// Variance of what is not known at the start, against R = 1: as good as infinite, and small enough
// for double precision in the Joseph form.
constexpr double kDiffuse = 1e8;
constexpr double kSmallest = 1e-12;  // ns^2: samples that fit exactly
constexpr int kManySamples = 1'000'000'000;

// Powers of ten from low to high.
std::vector<double> decades(double low, double high, double step) {
  std::vector<double> values;
  const int steps = static_cast<int>(std::lround((high - low) / step));
  for (int i = 0; i <= steps; ++i) values.push_back(std::pow(10.0, low + i * step));
  return values;
}

template <int kStates>
std::vector<ProcessNoise> grid(double interval_s) {
  const double t3 = interval_s * interval_s * interval_s;
  const double t5 = t3 * interval_s * interval_s;
  std::vector<ProcessNoise> noises;
  if constexpr (kStates == 2) {
    for (const double a : decades(-8, 2, 1)) {
      for (const double b : decades(-16, 0, 0.5)) noises.push_back({a / interval_s, b / t3, 0.0});
    }
  } else {
    for (const double a : decades(-8, 2, 2.5)) {
      for (const double b : decades(-16, -1, 3)) {
        for (const double c : decades(-24, -3, 3)) {
          noises.push_back({a / interval_s, b / t3, c / t5});
        }
      }
    }
  }
  return noises;
}

// (t_n / t_infinity)^2 at 99.95%, where t_n is Student's quantile with n degrees of freedom.
double student_widening(double n) {
  constexpr double kTable[] = {37'400, 37'400, 92.3, 15.4, 6.85, 4.36,
                               3.28,   2.70,   2.35, 2.11, 1.94};
  constexpr std::size_t kLast = std::size(kTable) - 1;
  if (n >= static_cast<double>(kLast)) return 1.0 + 7.5 / (n - 2.0);
  return kTable[static_cast<std::size_t>(std::max(n, 0.0))];
}

}  // namespace

template <int kStates>
FilterBank<kStates>::FilterBank(const FilterBankOptions& options) : options_(options) {
  DRIFTLOCK_ASSERT(options.interval_s > 0.0 && options.memory >= 16.0);
  for (const ProcessNoise& noise : grid<kStates>(options.interval_s)) {
    members_.push_back({.filter = {}, .noise = noise});
  }
  start(0.0);
}

template <int kStates>
void FilterBank<kStates>::start(double offset_ns) {
  std::array<double, kStates> state{offset_ns};
  std::array<double, kStates> variance{1.0};
  double unit = kDiffuse;
  for (std::size_t i = 1; i < kStates; ++i) {
    unit /= options_.interval_s * options_.interval_s;
    variance[i] = unit;
  }
  for (Member& member : members_) {
    member.filter.reset(state, variance);
    member.squares = member.log_variance = 0.0;
    member.weight = 1.0 / static_cast<double>(members_.size());
  }
  count_ = 0.0;
  observed_ = 1;
}

template <int kStates>
void FilterBank<kStates>::coast(double dt_s) {
  for (Member& member : members_) member.filter.predict(dt_s, member.noise);
}

// Memory grows with age, a quarter of it, so that a disturbed start is soon forgotten.
template <int kStates>
void FilterBank<kStates>::observe(double offset_ns, double relative_noise) {
  const double discount =
      1.0 - 1.0 / std::min(options_.memory, 8.0 + static_cast<double>(observed_) / 4.0);
  const bool informative = observed_ >= kStates;
  for (Member& member : members_) {
    const Innovation innovation = member.filter.innovation(offset_ns, relative_noise);
    if (informative) {
      member.squares = member.squares * discount + innovation.nis();
      member.log_variance =
          member.log_variance * discount + log_of(member, innovation.variance_ns2);
    }
    member.filter.update(innovation, relative_noise);
  }
  if (informative) {
    count_ = count_ * discount + 1.0;
    weigh();
  }
  observed_ = std::min(observed_ + 1, kManySamples);
}

// Bounded, so that one true step of the clock does not pass for noise.
template <int kStates>
void FilterBank<kStates>::learn(double offset_ns, double relative_noise) {
  constexpr double kMostNis = 100.0;
  if (observed_ < kStates) return;
  for (Member& member : members_) {
    const Innovation innovation = member.filter.innovation(offset_ns, relative_noise);
    const double unit = count_ > 0.0 ? std::max(member.squares / count_, kSmallest) : 1.0;
    member.squares += unit * std::min(innovation.nis() / unit, kMostNis);
    member.log_variance += log_of(member, innovation.variance_ns2);
  }
  count_ += 1.0;
  weigh();
}

// S hardly moves from sample to sample once a filter has settled, so its logarithm is continued by
// its series: hundreds of logarithms a sample are what the bank would spend most time on.
template <int kStates>
double FilterBank<kStates>::log_of(Member& member, double variance) {
  constexpr double kClose = 1e-5;  // the series' third term is below 1e-15
  const double change = (variance - member.variance) / member.variance;
  if (change == 0.0) return member.log_latest;
  member.variance = variance;
  member.log_latest = std::fabs(change) < kClose ? member.log_latest + change * (1 - change / 2)
                                                 : std::log(variance);
  return member.log_latest;
}

template <int kStates>
void FilterBank<kStates>::weigh() {
  constexpr double kHopeless = -60.0;  // exp of it is nothing
  double best = -1e300;
  for (Member& member : members_) {
    const double variance = std::max(member.squares / count_, kSmallest);
    member.weight = -0.5 * (count_ * std::log(variance) + member.log_variance);
    best = std::max(best, member.weight);
  }
  double sum = 0.0;
  for (Member& member : members_) {
    const double behind = member.weight - best;
    member.weight = behind > kHopeless ? std::exp(behind) : 0.0;
    sum += member.weight;
  }
  for (Member& member : members_) member.weight /= sum;
}

template <int kStates>
void FilterBank<kStates>::restart_offset(double offset_ns, double frequency_variance) {
  for (Member& member : members_) {
    const double unit = count_ > 0.0 ? std::max(member.squares / count_, kSmallest) : 1.0;
    member.filter.restart_offset(offset_ns, 1.0, frequency_variance / unit);
  }
}

template <int kStates>
double FilterBank<kStates>::scale(const Member& member, double prior_ns2) const {
  if (count_ < 1.0) return prior_ns2;
  const double learned = member.squares / count_ * student_widening(count_);
  return count_ < 4.0 ? std::min(learned, prior_ns2) : learned;
}

template <int kStates>
ForecastMean FilterBank<kStates>::mean_of(const Member& member) {
  ForecastMean mean{member.filter.state(0), member.filter.state(1), 0.0};
  if constexpr (kStates > 2) mean[2] = 0.5 * member.filter.state(2);
  return mean;
}

template <int kStates>
ForecastCurve FilterBank<kStates>::member_curve(std::size_t index, double prior_ns2) const {
  const Member& member = members_[index];
  ForecastCurve curve{mean_of(member), member.filter.forecast_variance(member.noise)};
  const double unit = scale(member, prior_ns2);
  for (double& v : curve.variance) v *= unit;
  return curve;
}

template <int kStates>
void FilterBank<kStates>::append_means(std::vector<ForecastMean>& means) const {
  for (const Member& member : members_) means.push_back(mean_of(member));
}

template <int kStates>
ForecastCurve FilterBank<kStates>::curve(double prior_ns2) const {
  constexpr double kNegligible = 1e-9;
  ForecastCurve curve;
  for (const Member& member : members_) {
    const ForecastMean mean = mean_of(member);
    for (std::size_t i = 0; i < mean.size(); ++i) curve.mean[i] += member.weight * mean[i];
  }
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const double weight = members_[i].weight;
    if (weight > kNegligible) curve.blend(weight, member_curve(i, prior_ns2), curve.mean);
  }
  return curve;
}

template <int kStates>
double FilterBank<kStates>::measurement_variance(double prior_ns2) const {
  double sum = 0.0;
  for (const Member& member : members_) sum += member.weight * scale(member, prior_ns2);
  return sum;
}

template <int kStates>
ProcessNoise FilterBank<kStates>::process_noise() const {
  ProcessNoise mean;
  for (const Member& member : members_) {
    const double unit = count_ > 0.0 ? member.weight * member.squares / count_ : 0.0;
    mean.q1 += unit * member.noise.q1;
    mean.q2 += unit * member.noise.q2;
    mean.q3 += unit * member.noise.q3;
  }
  return mean;
}

template class FilterBank<2>;
template class FilterBank<3>;

}  // namespace driftlock
