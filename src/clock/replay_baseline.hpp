// Baselines: the forecasts that a servo or a regression would make of the same samples, for a
// comparison that is printed beside the model's own figures. Pure.
#pragma once

#include <string>
#include <vector>

namespace driftlock {

// What a baseline believes after each sample: offset now and frequency, in ns and ns/s.
struct Belief {
  double offset_ns = 0.0;
  double frequency = 0.0;
};

struct Baseline {
  std::string name;
  std::vector<Belief> after;  // one for each sample
};

// A held PI servo, one that holds its mean frequency, and regressions over 16 to 1024 samples.
[[nodiscard]] std::vector<Baseline> run_baselines(const std::vector<double>& offset_ns,
                                                  double interval_s);

}  // namespace driftlock
