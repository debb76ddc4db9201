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
    };
    std::vector<Share> shares;
  };

  // Experts are numbered: first those without drift, then those with.
  Scoreboard(double interval_s, std::size_t straight, std::size_t drifting);

  // An accepted sample at `now_s`, before it has entered any filter.
  void score(double now_s, double offset_ns, double measurement_ns2);
  [[nodiscard]] bool wants_record(double now_s) const;
  // The forecasts after it has: the mixture's, each expert's, and what is published per horizon.
  void record(double now_s, const ForecastCurve& mixture, const std::vector<ForecastMean>& experts,
              const std::array<ForecastCurve, kHorizons>& published);
  // What was foreseen is void (a step); what was learned stands.
  void forget_pending();

  [[nodiscard]] static double horizon_s(double interval_s, std::size_t index);
  // The nearest horizon for which there is evidence.
  [[nodiscard]] const Belief& belief(double ahead_s) const;
  // Factor on the variance at this horizon and its neighbours, at least 1.
  [[nodiscard]] double stretch(double ahead_s) const;

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
    double worst = 0.0;  // largest normalized squared error of what was published, fading
    int until_weighed = 0;
    Belief belief;
  };
  [[nodiscard]] static bool due(const Horizon& horizon, double now_s);
  [[nodiscard]] std::size_t nearest(double ahead_s) const;
  static void evaluate(Horizon& horizon, const Pending& pending, double elapsed_s, double offset_ns,
                       double measurement_ns2);
  static void weigh(Horizon& horizon, const Belief& shorter, std::size_t straight);

  std::size_t straight_;
  std::vector<Horizon> horizons_;
};

}  // namespace driftlock
