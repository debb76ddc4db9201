// WindowForecasts: plain forecasts from the latest 16 to 16384 samples: regression lines, and mean
// frequencies drawn from the filters' present offset. They are no model of an oscillator; they
// stand ready for clocks that are none (under a servo, in a temperature cycle), where the
// scoreboard finds them better. Owned by the clock thread; all memory is taken at the start.
// Invariant: its sums are those of the samples in its ring.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "src/clock/forecast.hpp"

namespace driftlock {

class WindowForecasts {
 public:
  static constexpr std::size_t kRegressions = 11;  // over 16, 32 ... 16384 samples
  static constexpr std::size_t kRates = 8;         // over 128, 256 ... 16384 samples

  WindowForecasts();

  void start();  // forgets all
  // An accepted sample, and what the filters make of the offset with it.
  void add(double now_s, double offset_ns, double filtered_ns);
  // The source was stepped: all offsets so far would have read so much more.
  void shift(double step_ns);

  [[nodiscard]] static constexpr std::size_t size() { return kRegressions + kRates; }
  [[nodiscard]] static constexpr std::size_t samples(std::size_t index) {
    return index < kRegressions ? kSmallest << index : kSmallestRate << (index - kRegressions);
  }
  // The forecast from `now_s` on.
  [[nodiscard]] ForecastMean mean(std::size_t index, double now_s) const;
  void append_means(std::vector<ForecastMean>& means) const;

 private:
  static constexpr std::size_t kSmallest = 16;
  static constexpr std::size_t kSmallestRate = 128;
  static constexpr std::size_t kLargest = kSmallest << (kRegressions - 1);
  struct Sample {
    double time_s = 0.0;
    double offset_ns = 0.0;
    double filtered_ns = 0.0;
  };
  // Over a window, with time and offset counted from the latest sample.
  struct Sums {
    double count = 0.0;
    double t = 0.0;
    double tt = 0.0;
    double z = 0.0;
    double tz = 0.0;

    void add(double time_s, double offset_ns, double sign);
    void move(double dt_s, double dz_ns);
  };
  [[nodiscard]] const Sample& back(std::size_t age) const;
  [[nodiscard]] static Sums summed(const std::vector<Sample>& ring, std::size_t newest,
                                   std::size_t window);

  std::vector<Sample> ring_;
  std::size_t count_ = 0;   // samples in the ring
  std::size_t newest_ = 0;  // index in the ring
  std::array<Sums, kRegressions> sums_{};
};

}  // namespace driftlock
