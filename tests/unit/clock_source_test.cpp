// The device-facing sources, as far as a machine without a PTP clock can go: error paths, and the
// pure functions behind them.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "hw/phc_conversion.hpp"
#include "hw/phc_source.hpp"
#include "hw/system_clock_source.hpp"
#include "hw/tick_counter.hpp"

namespace driftlock {
namespace {

std::string open_error(const std::string& device) {
  PhcOptions options;
  options.device = device;
  const auto source = PhcSource::open(options);
  return source.ok() ? "" : source.error().message;
}

TEST(PhcSource, RefusesWhatIsNoPtpClock) {
  EXPECT_NE(open_error("/dev/null").find("not a PTP hardware clock"), std::string::npos);
  const auto file =
      std::filesystem::temp_directory_path() / ("driftlock_phc_" + std::to_string(getpid()));
  std::ofstream(file) << "not a clock";
  EXPECT_NE(open_error(file).find("not a PTP hardware clock"), std::string::npos);
  std::filesystem::remove(file);
  EXPECT_NE(open_error(file).find("no such device"), std::string::npos);
}

TEST(PhcSource, RefusesAnImpossibleNumberOfReadings) {
  PhcOptions options;
  options.readings = 26;
  EXPECT_FALSE(PhcSource::open(options).ok());
}

// System time 1000 at ticks 500..510 and 2000 at ticks 1000..1010, two ns to a tick.
constexpr TickBracket kBracket{{500, 510, 1000}, {1000, 1010, 2000}};

TEST(PhcConversion, PlacesAStampBetweenBothEnds) {
  const auto range = ticks_at(kBracket, 1500, 2.0);
  ASSERT_TRUE(range.has_value());
  EXPECT_LE(range->earliest, 750U);
  EXPECT_GE(range->latest, 760U);
  EXPECT_LE(range->latest - range->earliest, 14U);
}

TEST(PhcConversion, RefusesAStepAndAStampOutside) {
  TickBracket stepped = kBracket;
  stepped.after.system_ns = 5000;
  EXPECT_FALSE(ticks_at(stepped, 1500, 2.0).has_value());
  EXPECT_FALSE(ticks_at(kBracket, 999, 2.0).has_value());
  EXPECT_FALSE(ticks_at(kBracket, 2001, 2.0).has_value());
}

TEST(PhcConversion, TakesTheTightestReading) {
  const PhcReading readings[] = {{1100, 7, 1300}, {1400, 8, 1440}, {1500, 9, 1800}};
  const ClockSample sample = tightest_sample(kBracket, readings, 2.0);
  EXPECT_EQ(sample.tai_ns, 8);
  EXPECT_LE(sample.ticks_before, 700U);
  EXPECT_GE(sample.ticks_after, 730U);
  EXPECT_LT(sample.ticks_after - sample.ticks_before, 50U);
}

TEST(PhcConversion, FallsBackToTheWholeBracket) {
  TickBracket stepped = kBracket;
  stepped.after.system_ns = 5000;
  const PhcReading reading{1100, 7, 1300};
  const ClockSample sample = tightest_sample(stepped, {&reading, 1}, 2.0);
  EXPECT_EQ(sample.ticks_before, 500U);
  EXPECT_EQ(sample.ticks_after, 1010U);
}

TEST(SystemClock, TakesTheKernelsWord) {
  KernelClockState state{true, 40'000, 5'000, 12.5, 37};
  const auto sample = judge_kernel_clock({}, state, {1, 2, 1'000, 0, 0, 0.0, false});
  ASSERT_TRUE(sample.ok());
  EXPECT_EQ(sample->tai_ns, 1'000);
  EXPECT_EQ(sample->max_error_ns, 40'000);
  EXPECT_EQ(sample->estimated_error_ns, 5'000);
  EXPECT_TRUE(sample->synchronized);
  state.tai_offset_s = 0;
  EXPECT_EQ(judge_kernel_clock({}, state, {1, 2, 1'000, 0, 0, 0.0, false})->tai_ns,
            37 * kSecond + 1'000);
}

TEST(SystemClock, RefusesAnUnsynchronizedKernelUnlessTold) {
  const KernelClockState state;
  const auto refused = judge_kernel_clock({}, state, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("trust_unsynchronized"), std::string::npos);
  SystemClockOptions options;
  options.trust_unsynchronized = true;
  const auto trusted = judge_kernel_clock(options, state, {});
  ASSERT_TRUE(trusted.ok());
  EXPECT_EQ(trusted->max_error_ns, options.assumed_error_ns);
}

TEST(SystemClock, ReadsThisMachine) {
  SystemClockOptions options;
  options.trust_unsynchronized = true;
  SystemClockSource source(options);
  const auto first = source.sample();
  const auto second = source.sample();
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_LE(first->ticks_before, first->ticks_after);
  EXPECT_LE(first->ticks_after, second->ticks_before);
  EXPECT_NE(source.name().find("system"), std::string::npos);
}

}  // namespace
}  // namespace driftlock
