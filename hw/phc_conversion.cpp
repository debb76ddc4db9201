#include "hw/phc_conversion.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

// The system clock's rate differs from nominal ticks by at most this: crystal, kernel calibration
// and NTP's slew of at most 500 ppm together. Stamps lie within milliseconds of the bracket.
constexpr double kMaxRateError = 1e-3;

Nanoseconds width(const PhcReading& reading) {
  return std::max<Nanoseconds>(reading.system_after_ns - reading.system_before_ns, 0);
}

}  // namespace

std::optional<TickRange> ticks_at(const TickBracket& bracket, Nanoseconds system_ns,
                                  double ns_per_tick) {
  const TickPair& first = bracket.before;
  const TickPair& last = bracket.after;
  if (system_ns < first.system_ns || system_ns > last.system_ns) return std::nullopt;
  const double least_ns = static_cast<double>(last.ticks_before - first.ticks_after) * ns_per_tick;
  const double most_ns = static_cast<double>(last.ticks_after - first.ticks_before) * ns_per_tick;
  const auto system_span = static_cast<double>(last.system_ns - first.system_ns);
  if (system_span < least_ns * (1.0 - kMaxRateError) - 1.0 ||
      system_span > most_ns * (1.0 + kMaxRateError) + 1.0) {
    return std::nullopt;  // stepped
  }
  // From either end: after the first pair by at least this many ticks, and so on.
  const auto since = static_cast<double>(system_ns - first.system_ns);
  const auto until = static_cast<double>(last.system_ns - system_ns);
  const auto fewest = [&](double ns) {
    return static_cast<std::uint64_t>(std::floor(ns * (1.0 - kMaxRateError) / ns_per_tick));
  };
  const auto largest = [&](double ns) {
    return static_cast<std::uint64_t>(std::ceil((ns + 1.0) * (1.0 + kMaxRateError) / ns_per_tick));
  };
  TickRange range;
  range.earliest = std::max(first.ticks_before + fewest(since), last.ticks_before - largest(until));
  range.latest = std::min(first.ticks_after + largest(since), last.ticks_after - fewest(until));
  if (range.earliest > range.latest) return std::nullopt;
  return range;
}

ClockSample tightest_sample(const TickBracket& bracket, std::span<const PhcReading> readings,
                            double ns_per_tick) {
  DRIFTLOCK_ASSERT(!readings.empty());
  const PhcReading& best =
      *std::min_element(readings.begin(), readings.end(),
                        [](const auto& a, const auto& b) { return width(a) < width(b); });
  ClockSample sample;
  sample.tai_ns = best.phc_ns;
  const auto before = ticks_at(bracket, best.system_before_ns, ns_per_tick);
  const auto after = ticks_at(bracket, best.system_after_ns, ns_per_tick);
  sample.ticks_before = before ? before->earliest : bracket.before.ticks_before;
  sample.ticks_after = after ? after->latest : bracket.after.ticks_after;
  return sample;
}

}  // namespace driftlock
