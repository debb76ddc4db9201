// A NIC's stamp clock: mapped to ticks, and believed only where it fits what is claimed of it.
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hw/device_clock.hpp"
#include "hw/hardware_stamps.hpp"
#include "hw/stamp_clock.hpp"
#include "src/base/time.hpp"

namespace driftlock {
namespace {

TEST(DeviceClock, MapsADeviceThatRunsAtItsOwnRate) {
  // 156.25 MHz against 2.3 GHz, readings off by up to 20 ticks.
  constexpr double kTicksPerCount = 2'300.0 / 156.25;
  DeviceClock clock;
  EXPECT_FALSE(clock.map().valid());
  constexpr std::uint64_t kDeviceStart = 0xFFFF'FFFF'0000;
  constexpr std::uint64_t kTicksStart = 77'000'000'000;
  const auto truth = [&](std::uint64_t count) {
    return kTicksStart +
           static_cast<std::uint64_t>(static_cast<double>(count - kDeviceStart) * kTicksPerCount);
  };
  std::uint64_t count = kDeviceStart;
  for (int i = 0; i < 40; ++i) {
    count += 15'625'000;  // 100 ms
    clock.add(count, truth(count) + static_cast<std::uint64_t>(i * 7 % 20));
  }
  const DeviceClockMap map = clock.map();
  ASSERT_TRUE(map.valid());
  EXPECT_NEAR(map.ticks_per_count, kTicksPerCount, 1e-6);
  for (const std::uint64_t at : {count - 15'000'000, count, count + 15'000'000}) {
    EXPECT_NEAR(static_cast<double>(map.to_ticks(at) - kTicksStart),
                static_cast<double>(truth(at) - kTicksStart), 25.0);
  }
}

TEST(DeviceClock, StartsAgainWhenTheDeviceIsReset) {
  DeviceClock clock;
  for (std::uint64_t i = 1; i <= 8; ++i) clock.add(i * 1000, i * 2000);
  EXPECT_TRUE(clock.map().valid());
  clock.add(5, 20'000);
  EXPECT_FALSE(clock.map().valid());
  for (std::uint64_t i = 1; i <= 4; ++i) clock.add(5 + i * 1000, 20'000 + i * 2000);
  EXPECT_EQ(clock.map().to_ticks(2005), 24'000U);
}

TEST(DeviceClock, StartsAgainWhenTheDeviceIsStepped) {
  DeviceClock clock;
  for (std::uint64_t i = 1; i <= 20; ++i) clock.add(i * 1'000'000, i * 2'000'000);
  EXPECT_TRUE(clock.map().valid());
  clock.add(21'000'000 + 500'000, 42'000'000);
  EXPECT_FALSE(clock.map().valid());
}

TEST(DeviceClock, FollowsNanosecondsThatWrapAfterFourSeconds) {
  constexpr double kTicksPerCount = 2.3;
  DeviceClock clock(32);
  const auto device = [](double s) { return static_cast<std::uint64_t>(s * 1e9 + 77.0); };
  const auto ticks = [&](double s) { return static_cast<std::uint64_t>(s * 1e9 * kTicksPerCount); };
  double s = 4.0;
  // Readings a tenth of a second apart, then a silence of eleven seconds: two and a half turns.
  for (int i = 0; i < 20; ++i, s += 0.1) clock.add(device(s) & 0xFFFF'FFFF, ticks(s));
  s += 11.0;
  clock.add(device(s) & 0xFFFF'FFFF, ticks(s));
  const DeviceClockMap map = clock.map();
  EXPECT_NEAR(map.ticks_per_count, kTicksPerCount, 1e-6);
  for (const double at : {s - 1.5, s, s + 1.5}) {
    EXPECT_NEAR(static_cast<double>(map.to_ticks(device(at) & 0xFFFF'FFFF)),
                static_cast<double>(ticks(at)), 1000.0);
  }
}

std::vector<StampReading> stamp_readings(double counts_per_ns, std::uint64_t start, unsigned bits) {
  std::vector<StampReading> readings;
  for (int i = 0; i < 8; ++i) {
    const Nanoseconds elapsed = i * 5 * kMillisecond;
    const std::uint64_t device =
        start + static_cast<std::uint64_t>(static_cast<double>(elapsed) * counts_per_ns);
    readings.push_back({(device << (64 - bits)) >> (64 - bits),
                        1'700'000'000 * kSecond + elapsed + i % 3 * 200, 300});
  }
  return readings;
}

TEST(StampClock, SaysWhatDoesNotFit) {
  const auto why = [](const std::vector<StampReading>& readings, const StampClaim& claim) {
    const Status status = check_stamp_clock(readings, claim, "/dev/ptp0");
    return status.ok() ? std::string() : status.error().message;
  };
  constexpr std::uint64_t kEpoch = 1'700'000'000'000'000'000;
  const StampClaim whole{StampUnit::kPhcNanoseconds, 64};
  const StampClaim low{StampUnit::kPhcNanoseconds, 32};
  EXPECT_EQ(why(stamp_readings(1.0, kEpoch, 64), whole), "");
  EXPECT_EQ(why(stamp_readings(1.0, kEpoch, 32), low), "");
  EXPECT_NE(why(stamp_readings(1.0, kEpoch, 32), whole).find("epoch"), std::string::npos);
  EXPECT_NE(why(stamp_readings(1.0, kEpoch + 37'000'000'000, 64), whole).find("37 s off"),
            std::string::npos);
  EXPECT_NE(why(stamp_readings(0.15625, kEpoch, 64), whole).find("advance by 0.1562"),
            std::string::npos);
  EXPECT_EQ(why(stamp_readings(0.15625, 5, 64), {StampUnit::kCounter, 64}), "");
  EXPECT_NE(why(stamp_readings(0.0, kEpoch, 64), whole).find("does not advance"),
            std::string::npos);
  auto uneven = stamp_readings(1.0, kEpoch, 64);
  uneven.back().device += 1'000'000;
  EXPECT_NE(why(uneven, {StampUnit::kCounter, 64}).find("unevenly"), std::string::npos);
  uneven.resize(2);
  EXPECT_NE(why(uneven, whole).find("only 2 times"), std::string::npos);
}

// A machine whose ticks are 0.5 ns, with a PHC and a NIC's counter that tests set.
struct Bench {
  std::uint64_t ticks = 1'000'000'000;
  double counts_per_ns = 1.0;
  std::uint64_t device_start = 0;
  unsigned bits = 64;
  static constexpr std::uint64_t kEpoch = 1'700'000'000'000'000'000;

  [[nodiscard]] std::uint64_t elapsed_ns() const { return (ticks - 1'000'000'000) / 2; }
  HardwareStamps::Read device() {
    return [this]() -> std::optional<PairedReading> {
      ticks += 400;
      const auto counts =
          static_cast<std::uint64_t>(static_cast<double>(elapsed_ns()) * counts_per_ns);
      const std::uint64_t value = device_start + counts;
      return PairedReading{(value << (64 - bits)) >> (64 - bits), ticks, 400};
    };
  }
  HardwareStamps::Read phc() {
    return [this]() -> std::optional<PairedReading> {
      ticks += 2000;
      return PairedReading{kEpoch + elapsed_ns(), ticks, 2000};
    };
  }
  std::function<void()> pause() {
    return [this] { ticks += 4'000'000; };
  }
};

HardwareStampsOptions stamp_options(StampPolicy policy, unsigned bits = 64) {
  return {policy, bits, "/dev/ptp0", 0.5};
}

TEST(HardwareStamps, UsesACounterOfItsOwnAndSaysSo) {
  Bench bench;
  bench.counts_per_ns = 0.15625;
  HardwareStamps stamps(stamp_options(StampPolicy::kAuto), bench.device(), bench.phc());
  ASSERT_TRUE(stamps.open(bench.pause()).ok());
  EXPECT_TRUE(stamps.used());
  EXPECT_NE(stamps.remark().find("counter of its own"), std::string::npos) << stamps.remark();
  EXPECT_NEAR(stamps.map().ticks_per_count, 12.8, 1e-3);
}

TEST(HardwareStamps, KnowsThePhcsNanoseconds) {
  Bench bench;
  bench.device_start = Bench::kEpoch;
  HardwareStamps stamps(stamp_options(StampPolicy::kPhc), bench.device(), bench.phc());
  const Status opened = stamps.open(bench.pause());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_TRUE(stamps.used());
  Bench low;
  low.device_start = Bench::kEpoch;
  low.bits = 32;
  HardwareStamps wrapping(stamp_options(StampPolicy::kPhc, 32), low.device(), low.phc());
  ASSERT_TRUE(wrapping.open(low.pause()).ok());
  EXPECT_NEAR(wrapping.map().ticks_per_count, 2.0, 1e-4);
}

TEST(HardwareStamps, RefusesAnotherUnitOrEpochThanClaimed) {
  Bench bench;
  bench.device_start = Bench::kEpoch + 37'000'000'000;
  HardwareStamps epoch(stamp_options(StampPolicy::kPhc), bench.device(), bench.phc());
  const Status off = epoch.open(bench.pause());
  ASSERT_FALSE(off.ok());
  EXPECT_NE(off.error().message.find("37 s off /dev/ptp0"), std::string::npos);
  EXPECT_FALSE(epoch.used());
  bench.counts_per_ns = 0.15625;
  HardwareStamps unit(stamp_options(StampPolicy::kPhc), bench.device(), bench.phc());
  EXPECT_FALSE(unit.open(bench.pause()).ok());
  HardwareStamps still(
      stamp_options(StampPolicy::kCounter),
      [&bench] {
        return PairedReading{7, bench.ticks, 400};
      },
      nullptr);
  EXPECT_FALSE(still.open(bench.pause()).ok());
}

TEST(HardwareStamps, MapsByThePhcWhereTheNicsClockCannotBeRead) {
  Bench bench;
  HardwareStamps stamps(stamp_options(StampPolicy::kPhc, 32), nullptr, bench.phc());
  ASSERT_TRUE(stamps.open(bench.pause()).ok());
  ASSERT_TRUE(stamps.used());
  EXPECT_FALSE(stamps.remark().empty());
  const std::uint64_t at_ns = bench.elapsed_ns() + 1'000'000;
  const auto ticks =
      static_cast<double>(stamps.map().to_ticks((Bench::kEpoch + at_ns) & 0xFFFF'FFFF));
  EXPECT_NEAR(ticks, static_cast<double>(bench.ticks + 2'000'000), 1000.0);
  HardwareStamps automatic(stamp_options(StampPolicy::kAuto), nullptr, bench.phc());
  ASSERT_TRUE(automatic.open(bench.pause()).ok());
  EXPECT_FALSE(automatic.used());
  EXPECT_NE(automatic.remark().find("cannot be read"), std::string::npos);
}

TEST(HardwareStamps, ReadsASlowDeviceSeldom) {
  Bench bench;
  int reads = 0;
  const auto slow = [&]() -> std::optional<PairedReading> {
    ++reads;
    bench.ticks += 2'000'000;  // 1 ms
    return PairedReading{bench.elapsed_ns(), bench.ticks, 2'000'000};
  };
  HardwareStamps stamps(stamp_options(StampPolicy::kCounter), slow, nullptr);
  ASSERT_TRUE(stamps.open(bench.pause()).ok());
  reads = 0;
  for (int i = 0; i < 100; ++i) {
    bench.ticks += 200'000'000;  // 100 ms
    stamps.calibrate([&] { return bench.ticks; });
  }
  EXPECT_GT(reads, 5);
  EXPECT_LE(reads, 11);  // a thousandth of 10 s
}

}  // namespace
}  // namespace driftlock
