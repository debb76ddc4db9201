#include "tools/eval/heartbeats.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <numbers>

namespace driftlock::eval {
namespace {

constexpr PathModel kLan{};

}  // namespace

const std::vector<TraceShape>& trace_shapes() {
  static const std::vector<TraceShape> kShapes = {
      {"generated", "period give or take 10%, counted from the last sending; 1% lost", kLan},
      {"regular", "a fixed schedule; nothing lost", {0.0, 0.0, 1.0, 0.5, 0.0}},
      {"jittery",
       "a fixed schedule, delays of 20 ms spread widely; nothing lost",
       {0.0, 0.0, 20.0, 0.8, 0.0}},
      {"lossy", "a fixed schedule, 5% lost", {0.05, 0.0, 1.0, 0.5, 0.0}},
      {"lossy-bursts", "1% lost, and half of those after a lost one", {0.01, 0.5, 1.0, 0.5, 0.0}},
      {"very-lossy", "10% lost", {0.10, 0.0, 1.0, 0.5, 0.0}},
      {"bursty", "20 to 60 requests a period/20 apart, then a rest of 5 to 15 periods", kLan},
      {"diurnal", "the period swings between a third and three of its own", kLan},
      {"wan",
       "a fixed schedule, delays of 50 ms with a heavy tail; 1% lost",
       {0.01, 0.0, 50.0, 0.2, 0.02}},
      {"paces", "the period changes at once, by up to four times, every 2,000 heartbeats", kLan},
  };
  return kShapes;
}

std::vector<Nanoseconds> make_sends(const std::string& shape, unsigned count, double period_ms,
                                    Random& random) {
  const auto& shapes = trace_shapes();
  const bool known = std::any_of(shapes.begin(), shapes.end(),
                                 [&](const TraceShape& one) { return one.name == shape; });
  std::vector<Nanoseconds> sends;
  if (!known) return sends;
  const double period_ns = period_ms * 1e6;
  const bool scheduled = shape != "generated" && shape != "bursty" && shape != "paces";
  double now = 0.0;
  double pace = 1.0;
  unsigned left = 0;
  for (unsigned i = 0; i < count; ++i) {
    double gap = period_ns * (0.9 + 0.2 * random.uniform());
    if (scheduled) gap = period_ns;
    if (shape == "diurnal") {
      gap *= std::pow(3.0, std::sin(2.0 * std::numbers::pi * 4.0 * i / count));
    } else if (shape == "paces") {
      if (i % 2000 == 0) pace = std::exp2(4.0 * random.uniform() - 2.0);
      gap *= pace;
    } else if (shape == "bursty") {
      if (left-- == 0) {
        left = 20 + static_cast<unsigned>(random.below(40));
        gap = period_ns * (5.0 + 10.0 * random.uniform());
      } else {
        gap = period_ns / 20.0 * (0.5 + random.exponential());
      }
    }
    now += gap;
    sends.push_back(static_cast<Nanoseconds>(now));
  }
  return sends;
}

std::vector<Nanoseconds> read_sends(const std::string& path) {
  std::ifstream file(path);
  std::vector<Nanoseconds> sends;
  for (std::string line; std::getline(file, line);) {
    char* end = nullptr;
    const double wide = std::strtod(line.c_str(), &end);
    if (end == line.c_str()) continue;  // a heading, or nothing
    const bool whole = line.find_first_of(".eE") == std::string::npos;
    sends.push_back(whole ? std::strtoll(line.c_str(), nullptr, 10)
                          : static_cast<Nanoseconds>(wide));
  }
  std::sort(sends.begin(), sends.end());
  return sends;
}

std::vector<Heartbeat> deliver(const std::vector<Nanoseconds>& sends, const PathModel& path,
                               Random& random) {
  constexpr double kSpikeShape = 1.5;
  std::vector<Heartbeat> heartbeats;
  bool lost = false;
  for (const Nanoseconds send : sends) {
    double delay_ns = path.delay_ms * 1e6 * std::exp(path.jitter * random.normal());
    const double chance = lost && path.loss_again > 0.0 ? path.loss_again : path.loss;
    lost = random.uniform() < chance;
    if (path.spike > 0.0 && random.uniform() < path.spike) {
      delay_ns = 5e6 * path.delay_ms * std::pow(1.0 - random.uniform(), -1.0 / kSpikeShape);
    }
    if (!lost) heartbeats.push_back({send, send + static_cast<Nanoseconds>(delay_ns)});
  }
  std::sort(heartbeats.begin(), heartbeats.end(),
            [](const Heartbeat& a, const Heartbeat& b) { return a.arrived_ns < b.arrived_ns; });
  return heartbeats;
}

}  // namespace driftlock::eval
