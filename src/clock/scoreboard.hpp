// Scoreboard: forecasts are kept and compared with what came, for horizons of 4, 8, 16 ... sampling
// intervals. It says which filters to believe at a horizon, and how far the variances must be
// stretched for a bound of k sigma to cover. Owned by the clock thread. Invariant: a forecast is
// scored by samples that came after it, so never by itself.
//
// Why: the bank's weights come from how well the next sample is foreseen. That is all there is to
// know where the clock is an oscillator with the noises of the model. Where it is not (a servo's
// clock, a temperature cycle), a filter that foresees a second well may be hopeless for an hour.
// At each horizon the mixture competes with the single filters: weight = prior * likelihood of the
// errors over that horizon, -n/2 log(mean squared error) with n windows that do not overlap. The
// prior is nearly all the mixture's, so a filter takes over only on clear evidence.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "src/clock/forecast.hpp"

namespace driftlock {

class Scoreboard {
 public:
  static constexpr std::size_t kHorizons = 13;  // 4 to 16384 intervals
  static constexpr std::size_t kPerWindow = 8;  // forecasts under way per horizon

  // What to believe at a horizon: the mixture and some of the experts, weights summing to 1.
  struct Belief {
    double mixture = 1.0;
    struct Share {
      std::size_t expert = 0;
      double weight = 0.0;
      double scale = 1.0;  // its squared errors over the variance that the mixture foresaw
    };
    std::vector<Share> shares;
  };

  // Experts are numbered: first the filters without drift, then those with, then the windows.
  struct Experts {
    std::size_t straight = 0;
    std::size_t drifting = 0;
    std::vector<std::size_t> windows;  // samples in each

    [[nodiscard]] std::size_t all() const { return straight + drifting + windows.size(); }
    [[nodiscard]] bool drifts(std::size_t i) const {
      return i >= straight && i < straight + drifting;
    }
    [[nodiscard]] bool is_window(std::size_t i) const { return i >= straight + drifting; }
  };
  Scoreboard(double interval_s, const Experts& experts);

  // A sample at `now_s`, before it has entered any filter. `most` limits what an error counts, in
  // squares of what was foreseen: a suspicious one may be the source's.
  void score(double now_s, double offset_ns, double measurement_ns2, double most);
  [[nodiscard]] bool wants_record(double now_s) const;
  // The forecasts after it has: the mixture's, each expert's, and what is published per horizon.
  void record(double now_s, const ForecastCurve& mixture, const std::vector<ForecastMean>& experts,
              const std::array<ForecastCurve, kHorizons>& published);
  // The source was stepped: what the first `experts` foresaw would have been so much more.
  void shift_pending(double step_ns, std::size_t experts);

  [[nodiscard]] static double horizon_s(double interval_s, std::size_t index);
  // The nearest horizon for which there is evidence.
  [[nodiscard]] const Belief& belief(double ahead_s) const;
  // Factors, at least 1: on the variance of the forecast, and on what it and the readings' noise
  // make together.
  struct Stretch {
    double forecast = 1.0;
    double total = 1.0;
    double least_ns2 = 0.0;  // what the two make together at least: errors as large have been seen
  };
  [[nodiscard]] Stretch stretch(double ahead_s) const;

 private:
  struct Pending {
    double issued_s = 0.0;
    ForecastCurve mixture;
    ForecastCurve published;
    std::vector<ForecastMean> experts;
  };
  struct Horizon {
    double ahead_s = 0.0;
    double spacing_s = 0.0;
    std::array<Pending, kPerWindow> pending;  // a ring, oldest at first
    std::size_t first = 0;
    std::size_t size = 0;
    double age = 0.0;      // evaluations, all told
    double count = 0.0;    // discounted evaluations
    double mixture = 0.0;  // sums of squared errors, normalized
    std::vector<double> experts;
    double published = 0.0;  // sum of the published forecasts' squared errors, normalized
    double worst = 0.0;      // largest normalized squared error of what was published, fading
    double largest = 0.0;    // largest squared error of it, ns^2, forgotten as all evidence is
    int until_weighed = 0;
    Belief belief;
  };
  [[nodiscard]] static bool due(const Horizon& horizon, double now_s);
  [[nodiscard]] std::size_t nearest(double ahead_s) const;
  static void evaluate(Horizon& horizon, const Pending& pending, double elapsed_s, double offset_ns,
                       double measurement_ns2, double most);
  void weigh(std::size_t index, const Belief& shorter);
  void fill_priors(std::size_t index, const Belief& shorter);
  void fill_window_priors(std::size_t index, double sum);
  [[nodiscard]] bool has_evidence(std::size_t index) const;

  Experts experts_;
  std::vector<double> priors_;  // of the experts, while weighing
  std::uint64_t samples_ = 0;
  std::vector<Horizon> horizons_;
};

}  // namespace driftlock
