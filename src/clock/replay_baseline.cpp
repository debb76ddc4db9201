#include "src/clock/replay_baseline.hpp"

#include <algorithm>
#include <cstddef>

namespace driftlock {
namespace {

// linuxptp's PI servo with its default constants for hardware time stamps; when the source goes it
// runs on with its last frequency, or with the mean over the latest kMean.
constexpr double kProportional = 0.7;
constexpr double kIntegral = 0.3;
constexpr std::size_t kMean = 1024;

void run_servo(const std::vector<double>& z, double interval_s, Baseline& held, Baseline& mean) {
  double clock_ns = z.empty() ? 0.0 : z[0];  // where the servo's clock has the offset
  double integral = z.size() > 1 ? (z[1] - z[0]) / interval_s : 0.0;
  double frequency = integral;
  std::vector<double> frequencies;
  double sum = 0.0;
  for (std::size_t k = 0; k < z.size(); ++k) {
    if (k > 0) clock_ns += frequency * interval_s;
    const double error = (z[k] - clock_ns) / interval_s;
    integral += kIntegral * error;
    frequency = integral + kProportional * error;
    frequencies.push_back(frequency);
    sum += frequency;
    if (k >= kMean) sum -= frequencies[k - kMean];
    held.after.push_back({clock_ns, frequency});
    mean.after.push_back({clock_ns, sum / static_cast<double>(std::min(k + 1, kMean))});
  }
}

// Least squares line over the latest `window` samples, with running sums about the latest.
Baseline regression(const std::vector<double>& z, double interval_s, std::size_t window) {
  Baseline line{"regression over " + std::to_string(window), {}};
  for (std::size_t k = 0; k < z.size(); ++k) {
    const std::size_t n = std::min(window, k + 1);
    const auto count = static_cast<double>(n);
    double mean_z = 0.0;
    double cross = 0.0;
    const double mean_t = -(count - 1.0) / 2.0;
    for (std::size_t i = 0; i < n; ++i) mean_z += z[k - i] - z[k];
    mean_z /= count;
    for (std::size_t i = 0; i < n; ++i) {
      cross += (-static_cast<double>(i) - mean_t) * (z[k - i] - z[k] - mean_z);
    }
    const double spread = count * (count * count - 1.0) / 12.0;
    const double slope = n > 1 ? cross / spread : 0.0;
    line.after.push_back({z[k] + mean_z - slope * mean_t, slope / interval_s});
  }
  return line;
}

}  // namespace

std::vector<Baseline> run_baselines(const std::vector<double>& offset_ns, double interval_s) {
  std::vector<Baseline> baselines{{"PI servo, held", {}}, {"PI servo, mean frequency", {}}};
  run_servo(offset_ns, interval_s, baselines[0], baselines[1]);
  for (std::size_t window = 16; window <= 1024; window *= 2) {
    baselines.push_back(regression(offset_ns, interval_s, window));
  }
  return baselines;
}

}  // namespace driftlock
