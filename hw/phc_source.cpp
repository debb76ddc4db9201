#include "hw/phc_source.hpp"

#include <fcntl.h>
#include <linux/ptp_clock.h>
#include <sys/ioctl.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "hw/phc_conversion.hpp"
#include "hw/tick_counter.hpp"

namespace driftlock {
namespace {

Nanoseconds to_ns(const ptp_clock_time& t) {
  return static_cast<Nanoseconds>(t.sec) * kSecond + t.nsec;
}

// The kernel's dynamic clock id of an open PHC (FD_TO_CLOCKID in the kernel's testptp.c).
clockid_t clock_of(int descriptor) {
  return static_cast<clockid_t>((~static_cast<unsigned>(descriptor) << 3) | 3U);
}

TickPair read_pair(clockid_t clock) {
  TickPair best;
  for (int attempt = 0; attempt < 3; ++attempt) {
    timespec now{};
    TickPair pair;
    pair.ticks_before = read_ticks();
    clock_gettime(clock, &now);
    pair.ticks_after = read_ticks();
    pair.system_ns = Nanoseconds{now.tv_sec} * kSecond + now.tv_nsec;
    if (attempt == 0 ||
        pair.ticks_after - pair.ticks_before < best.ticks_after - best.ticks_before) {
      best = pair;
    }
  }
  return best;
}

Error failed(const PhcOptions& options, const std::string& what) {
  return Error{options.device + ": " + what + ": " + std::strerror(errno)};
}

Error cannot_open(const PhcOptions& options) {
  switch (errno) {
    case ENOENT:
      return Error{options.device +
                   ": no such device; `ethtool -T INTERFACE` names an interface's PTP hardware "
                   "clock, where it has one"};
    case EACCES:
    case EPERM:
      return Error{options.device +
                   ": permission denied; run as root or give the service's group read access by a "
                   "udev rule"};
    default:
      return failed(options, "cannot open");
  }
}

// Frequency adjustment now in force, ppb; 0 where the driver does not say.
double steering_ppb(int descriptor) {
  timex state{};
  if (clock_adjtime(clock_of(descriptor), &state) < 0) return 0.0;
  return static_cast<double>(state.freq) * 1000.0 / 65536.0;  // from ppm in 16-bit fractions
}

Result<ClockSample> read_precise(const PhcOptions& options, int descriptor) {
  ptp_sys_offset_precise request{};
  TickBracket bracket;
  bracket.before = read_pair(CLOCK_MONOTONIC_RAW);
  if (ioctl(descriptor, PTP_SYS_OFFSET_PRECISE, &request) < 0) {
    return failed(options, "PTP_SYS_OFFSET_PRECISE");
  }
  bracket.after = read_pair(CLOCK_MONOTONIC_RAW);
  const Nanoseconds raw_ns = to_ns(request.sys_monoraw);
  const PhcReading reading{raw_ns, to_ns(request.device), raw_ns};
  return tightest_sample(bracket, {&reading, 1}, nominal_ns_per_tick());
}

Result<ClockSample> read_extended(const PhcOptions& options, int descriptor) {
  ptp_sys_offset_extended request{};
  request.n_samples = static_cast<unsigned>(options.readings);
  TickBracket bracket;
  bracket.before = read_pair(CLOCK_REALTIME);
  if (ioctl(descriptor, PTP_SYS_OFFSET_EXTENDED, &request) < 0) {
    return failed(options, "PTP_SYS_OFFSET_EXTENDED");
  }
  bracket.after = read_pair(CLOCK_REALTIME);
  std::array<PhcReading, PTP_MAX_SAMPLES> readings;
  for (std::size_t i = 0; i < request.n_samples; ++i) {
    readings[i] = {to_ns(request.ts[i][0]), to_ns(request.ts[i][1]), to_ns(request.ts[i][2])};
  }
  return tightest_sample(bracket, {readings.data(), request.n_samples}, nominal_ns_per_tick());
}

Result<ClockSample> read_plain(const PhcOptions& options, int descriptor) {
  ptp_sys_offset request{};
  request.n_samples = static_cast<unsigned>(options.readings);
  TickBracket bracket;
  bracket.before = read_pair(CLOCK_REALTIME);
  if (ioctl(descriptor, PTP_SYS_OFFSET, &request) < 0) return failed(options, "PTP_SYS_OFFSET");
  bracket.after = read_pair(CLOCK_REALTIME);
  // The stamps alternate: system, PHC, system, PHC, ... system.
  std::array<PhcReading, PTP_MAX_SAMPLES> readings;
  for (std::size_t i = 0; i < request.n_samples; ++i) {
    readings[i] = {to_ns(request.ts[2 * i]), to_ns(request.ts[2 * i + 1]),
                   to_ns(request.ts[2 * i + 2])};
  }
  return tightest_sample(bracket, {readings.data(), request.n_samples}, nominal_ns_per_tick());
}

Result<ClockSample> read_clock_gettime(const PhcOptions& options, int descriptor) {
  ClockSample best;
  for (int i = 0; i < options.readings; ++i) {
    timespec now{};
    ClockSample sample;
    sample.ticks_before = read_ticks();
    if (clock_gettime(clock_of(descriptor), &now) < 0) return failed(options, "clock_gettime");
    sample.ticks_after = read_ticks();
    sample.tai_ns = Nanoseconds{now.tv_sec} * kSecond + now.tv_nsec;
    if (i == 0 || sample.ticks_after - sample.ticks_before < best.ticks_after - best.ticks_before) {
      best = sample;
    }
  }
  return best;
}

}  // namespace

std::string_view to_string(PhcMethod method) {
  switch (method) {
    case PhcMethod::kPrecise:
      return "precise";
    case PhcMethod::kExtended:
      return "extended";
    case PhcMethod::kPlain:
      return "plain";
    case PhcMethod::kClockGettime:
      return "clock_gettime";
  }
  return "?";
}

Result<std::unique_ptr<PhcSource>> PhcSource::open(const PhcOptions& options) {
  if (options.readings < 1 || options.readings > PTP_MAX_SAMPLES) {
    return Error{"readings of a PHC per sample: 1 to " + std::to_string(PTP_MAX_SAMPLES)};
  }
  const int descriptor = ::open(options.device.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return cannot_open(options);
  std::unique_ptr<PhcSource> source(new PhcSource(options, descriptor));
  ptp_clock_caps capabilities{};
  if (ioctl(descriptor, PTP_CLOCK_GETCAPS, &capabilities) < 0) {
    return Error{options.device + ": not a PTP hardware clock (it refuses PTP_CLOCK_GETCAPS)"};
  }
  for (const PhcMethod method :
       {PhcMethod::kPrecise, PhcMethod::kExtended, PhcMethod::kPlain, PhcMethod::kClockGettime}) {
    const Result<ClockSample> first = source->read(method);
    if (first.ok()) {
      source->method_ = method;
      return source;
    }
    if (method == PhcMethod::kClockGettime) return first.error();
  }
  return Error{options.device + ": cannot be read"};
}

PhcSource::PhcSource(const PhcOptions& options, int descriptor)
    : options_(options), descriptor_(descriptor) {}

PhcSource::~PhcSource() {
  close(descriptor_);
}

Result<ClockSample> PhcSource::read(PhcMethod method) const {
  switch (method) {
    case PhcMethod::kPrecise:
      return read_precise(options_, descriptor_);
    case PhcMethod::kExtended:
      return read_extended(options_, descriptor_);
    case PhcMethod::kPlain:
      return read_plain(options_, descriptor_);
    case PhcMethod::kClockGettime:
      break;
  }
  return read_clock_gettime(options_, descriptor_);
}

Result<ClockSample> PhcSource::sample() {
  Result<ClockSample> sample = read(method_);
  if (!sample.ok()) return sample;
  sample->tai_ns += options_.to_tai_ns;
  sample->max_error_ns = options_.max_error_ns;
  sample->steering_ppb = steering_ppb(descriptor_);
  sample->synchronized = true;
  return sample;
}

std::string PhcSource::name() const {
  return "phc:" + options_.device + " (" + std::string(to_string(method_)) + ")";
}

}  // namespace driftlock
