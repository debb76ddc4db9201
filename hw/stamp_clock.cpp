#include "hw/stamp_clock.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace driftlock {
namespace {

constexpr std::size_t kReadingsMin = 4;
constexpr double kUneven = 1e-3;         // between the rates of two parts of the readings
constexpr double kUnit = 1e-3;           // from one count a nanosecond
constexpr double kEpoch_ns = 100'000.0;  // a PHC read twice in a row differs by less

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

// The difference of two counters of so many bits, with its sign.
double distance(std::uint64_t from, std::uint64_t to, unsigned bits) {
  const unsigned unused = 64 - bits;
  return static_cast<double>(static_cast<std::int64_t>((to - from) << unused) >> unused);
}

double doubt_ns(const StampReading& a, const StampReading& b) {
  return static_cast<double>(a.half_width_ns + b.half_width_ns);
}

double rate(const StampReading& from, const StampReading& to, unsigned bits) {
  return distance(from.device, to.device, bits) / static_cast<double>(to.phc_ns - from.phc_ns);
}

}  // namespace

Status check_stamp_clock(std::span<const StampReading> readings, const StampClaim& claim,
                         const std::string& phc) {
  if (readings.size() < kReadingsMin) {
    return Error{"the NIC's stamp clock and " + phc + " could be read together only " +
                 std::to_string(readings.size()) + " times"};
  }
  const StampReading& first = readings.front();
  const StampReading& middle = readings[readings.size() / 2];
  const StampReading& last = readings.back();
  if (middle.phc_ns <= first.phc_ns || last.phc_ns <= middle.phc_ns) {
    return Error{phc + " does not advance"};
  }
  const double whole = rate(first, last, claim.bits);
  if (whole <= 0.0) return Error{"the NIC's stamp clock does not advance while " + phc + " does"};
  const double half_span =
      static_cast<double>(std::min(middle.phc_ns - first.phc_ns, last.phc_ns - middle.phc_ns));
  const double noise = 2.0 * (doubt_ns(first, middle) + doubt_ns(middle, last)) / half_span;
  const double early = rate(first, middle, claim.bits);
  const double late = rate(middle, last, claim.bits);
  if (std::fabs(early - late) > (kUneven + noise) * whole) {
    return Error{"the NIC's stamp clock runs unevenly: " + number(early) + ", then " +
                 number(late) + " counts a nanosecond of " + phc};
  }
  if (claim.unit == StampUnit::kCounter) return done();
  if (std::fabs(whole - 1.0) > kUnit + noise) {
    return Error{"the NIC's stamps advance by " + number(whole) + " a nanosecond of " + phc +
                 ": they do not count its nanoseconds"};
  }
  const double apart = distance(static_cast<std::uint64_t>(last.phc_ns), last.device, claim.bits);
  if (std::fabs(apart) > kEpoch_ns + static_cast<double>(last.half_width_ns)) {
    return Error{"the NIC's stamps count nanoseconds, but are " + number(apart * 1e-9) + " s off " +
                 phc + ": another clock, or another epoch"};
  }
  return done();
}

}  // namespace driftlock
