#include "hw/hardware_stamps.hpp"

#include <utility>
#include <vector>

namespace driftlock {
namespace {

constexpr const char* kInstead = "; stamps are the TSC at the burst";
constexpr std::uint64_t kShareOfTime = 1000;

// Two readings of different instants as one: the PHC's is moved by the ticks in between, some
// microseconds, in which their rates do not part.
StampReading paired(const PairedReading& device, const PairedReading& phc, double ns_per_tick) {
  const auto apart = static_cast<double>(static_cast<std::int64_t>(device.ticks - phc.ticks));
  const double widths = static_cast<double>(device.width_ticks + phc.width_ticks);
  return {device.value,
          static_cast<Nanoseconds>(phc.value) + static_cast<Nanoseconds>(apart * ns_per_tick),
          static_cast<Nanoseconds>(widths * ns_per_tick)};
}

}  // namespace

HardwareStamps::HardwareStamps(HardwareStampsOptions options, Read device, Read phc)
    : options_(std::move(options)),
      device_(std::move(device)),
      phc_(std::move(phc)),
      clock_(options_.policy == StampPolicy::kPhc ? options_.bits : 64) {}

Nanoseconds HardwareStamps::in_ns(std::uint64_t ticks) const {
  return static_cast<Nanoseconds>(static_cast<double>(ticks) * options_.ns_per_tick);
}

Status HardwareStamps::open(const std::function<void()>& pause) {
  if (options_.policy == StampPolicy::kOff) return done();
  std::vector<StampReading> against_phc;
  std::vector<StampReading> against_ticks;
  std::vector<PairedReading> phc_alone;
  for (std::size_t i = 0; i < DeviceClock::kSamples; ++i) {
    const std::optional<PairedReading> device = device_ ? device_() : std::nullopt;
    const std::optional<PairedReading> phc = phc_ ? phc_() : std::nullopt;
    if (device) {
      clock_.add(device->value, device->ticks);
      against_ticks.push_back({device->value, in_ns(device->ticks), in_ns(device->width_ticks)});
    }
    if (phc) phc_alone.push_back(*phc);
    if (device && phc) against_phc.push_back(paired(*device, *phc, options_.ns_per_tick));
    pause();
  }
  Status fits = judge(against_phc, against_ticks, phc_alone.size());
  if (!fits.ok()) {
    if (options_.policy != StampPolicy::kAuto) return fits;
    remark_ = fits.error().message + kInstead;
    return done();
  }
  used_ = true;
  by_phc_ = against_ticks.empty();
  for (const PairedReading& phc : phc_alone) {
    if (by_phc_) clock_.add(phc.value, phc.ticks);
  }
  return done();
}

Status HardwareStamps::judge(std::span<const StampReading> against_phc,
                             std::span<const StampReading> against_ticks,
                             std::size_t phc_readings) {
  if (options_.policy == StampPolicy::kPhc) return judge_phc(against_phc, phc_readings);
  if (against_ticks.empty()) {
    return Error{"the NIC stamps packets but its clock cannot be read"};
  }
  Status even =
      check_stamp_clock(against_ticks, {StampUnit::kCounter, 64}, "this machine's tick counter");
  if (!even.ok() || against_phc.empty()) return even;
  const Status is_phc =
      check_stamp_clock(against_phc, {StampUnit::kPhcNanoseconds, 64}, options_.phc);
  remark_ = is_phc.ok() ? "the NIC's stamps are " + options_.phc + "'s nanoseconds"
                        : "the NIC stamps packets by a counter of its own (" +
                              is_phc.error().message + "); it is mapped by regression";
  return even;
}

// Without a clock that can be read the claim cannot be tested at once: the mapping is made of the
// PHC itself, and every stamp that does not fit it is refused when it comes.
Status HardwareStamps::judge_phc(std::span<const StampReading> against_phc,
                                 std::size_t phc_readings) {
  if (phc_readings < DeviceClock::kSamplesMin) {
    return Error{options_.phc + " cannot be read, and stamps are said to be its nanoseconds"};
  }
  if (device_ && !against_phc.empty()) {
    return check_stamp_clock(against_phc, {StampUnit::kPhcNanoseconds, options_.bits},
                             options_.phc);
  }
  remark_ = "the NIC's stamp clock cannot be read: its stamps are taken for " + options_.phc +
            "'s nanoseconds, and those that do not fit are replaced by the TSC and counted";
  return done();
}

void HardwareStamps::calibrate(const std::function<std::uint64_t()>& ticks) {
  if (!used_) return;
  const std::uint64_t begun = ticks();
  if (begun < next_calibration_) return;
  const std::optional<PairedReading> reading = by_phc_ ? phc_() : device_();
  if (reading) clock_.add(reading->value, reading->ticks);
  const std::uint64_t ended = ticks();
  next_calibration_ = ended + kShareOfTime * (ended - begun);
}

}  // namespace driftlock
