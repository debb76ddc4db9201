#include "tools/clock/analyze.hpp"

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "src/clock/stability.hpp"
#include "tools/clock/plot.hpp"

namespace driftlock::cli {
namespace {

void print(const std::vector<Deviations>& deviations, const NoiseFit& fit) {
  std::printf("%10s %12s %13s %13s %13s %13s %13s\n", "averaging", "tau s", "ADEV", "OADEV", "MDEV",
              "TDEV s", "MTIE s");
  for (const Deviations& at : deviations) {
    std::printf("%10zu %12.6g %13.6e %13.6e %13.6e %13.6e %13.6e\n", at.averaging, at.tau_s,
                at.adev, at.oadev, at.mdev, at.tdev_s, at.mtie_s);
  }
  std::printf(
      "\nfit: white phase noise %.4g ns; q1 %.4g ns^2/s, q2 %.4g (ns/s)^2/s, "
      "q3 %.4g (ns/s^2)^2/s; least OADEV %.3g\n",
      fit.white_phase_ns, fit.process.q1, fit.process.q2, fit.process.q3, fit.flicker_floor);
}

void print_json(const std::vector<Deviations>& deviations, const NoiseFit& fit) {
  nlohmann::json lines = nlohmann::json::array();
  for (const Deviations& at : deviations) {
    lines.push_back({{"averaging", at.averaging},
                     {"tau_s", at.tau_s},
                     {"adev", at.adev},
                     {"oadev", at.oadev},
                     {"mdev", at.mdev},
                     {"tdev_s", at.tdev_s},
                     {"mtie_s", at.mtie_s}});
  }
  const nlohmann::json all = {{"deviations", lines},
                              {"fit",
                               {{"white_phase_ns", fit.white_phase_ns},
                                {"q1_ns2_per_s", fit.process.q1},
                                {"q2_ns2_per_s3", fit.process.q2},
                                {"q3_ns2_per_s5", fit.process.q3},
                                {"least_oadev", fit.flicker_floor}}}};
  std::printf("%s\n", all.dump().c_str());
}

}  // namespace

int analyze_command(const AnalyzeOptions& options, bool json) {
  auto phase = read_phase_ns(options.series);
  if (!phase.ok()) {
    std::fprintf(stderr, "driftlock clock analyze: %s\n", phase.error().message.c_str());
    return 2;
  }
  for (double& x : phase.value()) x *= 1e-9;
  const double interval = options.series.interval_s;
  const auto octaves = analyze_stability(phase.value(), interval);
  std::vector<Deviations> wanted = octaves;
  if (!options.averaging.empty()) {
    wanted.clear();
    for (const std::size_t m : options.averaging) {
      if (m == 0 || 3 * m > phase->size()) {
        std::fprintf(stderr, "driftlock clock analyze: averaging over %zu needs %zu values\n", m,
                     3 * m);
        return 2;
      }
      wanted.push_back(deviations_at(phase.value(), interval, m));
    }
  }
  const NoiseFit fit = fit_noise(octaves);
  json ? print_json(wanted, fit) : print(wanted, fit);
  if (options.svg.empty()) return 0;
  std::ofstream file(options.svg);
  file << stability_svg(octaves, fit, "Stability of " + options.series.file);
  file.close();
  if (!file) {
    std::fprintf(stderr, "driftlock clock analyze: cannot write %s\n", options.svg.c_str());
    return 2;
  }
  return 0;
}

}  // namespace driftlock::cli
