#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "hw/clock_segment.hpp"
#include "hw/driftlock_clock.h"
#include "hw/tick_counter.hpp"

namespace driftlock {
namespace {

std::string path_of(const char* role) {
  return std::filesystem::temp_directory_path() /
         ("driftlock_" + std::string(role) + "." + std::to_string(getpid()));
}

ClockSnapshot snapshot_at(Nanoseconds tai_ns) {
  ClockSnapshot snapshot;
  snapshot.anchor_ticks = read_ticks();
  snapshot.anchor_tai_ns = tai_ns;
  snapshot.hard_earliest_ns = tai_ns - 1'000;
  snapshot.hard_latest_ns = tai_ns + 1'000;
  snapshot.tai_ns_per_tick = nominal_ns_per_tick();
  snapshot.min_tai_ns_per_tick = 0.9999 * nominal_ns_per_tick();
  snapshot.max_tai_ns_per_tick = 1.0001 * nominal_ns_per_tick();
  snapshot.lost_ns = kSecond;
  snapshot.holdover_after_ns = 100 * kSecond;
  snapshot.state = ClockState::kSync;
  return snapshot;
}

TEST(ClockSegment, IsReadThroughTheCInterface) {
  const std::string path = path_of("segment");
  auto writer = ClockSegmentWriter::create(path);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  driftlock_clock* clock = driftlock_clock_open(path.c_str(), nullptr, 0);
  ASSERT_NE(clock, nullptr);
  driftlock_clock_reading now{};
  EXPECT_EQ(driftlock_clock_now(clock, &now), -1);  // nothing published yet
  EXPECT_EQ(now.state, DRIFTLOCK_CLOCK_LOST);
  writer.value()->publish(snapshot_at(5'000 * kSecond));
  EXPECT_EQ(driftlock_clock_now(clock, &now), 0);
  EXPECT_EQ(now.state, DRIFTLOCK_CLOCK_SYNC);
  EXPECT_LE(now.earliest_ns, now.estimate_ns);
  EXPECT_LE(now.estimate_ns, now.latest_ns);
  EXPECT_GE(now.latest_ns, 5'000 * kSecond);
  EXPECT_EQ(driftlock_clock_wait_until_past(clock, 5'000 * kSecond + 100'000, kSecond), 0);
  EXPECT_EQ(driftlock_clock_now(clock, &now), 0);
  EXPECT_GT(now.earliest_ns, 5'000 * kSecond + 100'000);
  EXPECT_EQ(driftlock_clock_wait_until_past(clock, 9'000 * kSecond, 1'000), -1);  // timeout
  writer.value().reset();
  EXPECT_EQ(driftlock_clock_now(clock, &now), -1);  // the node went away and said so
  EXPECT_FALSE(std::filesystem::exists(path));
  driftlock_clock_close(clock);
}

TEST(ClockSegment, RefusesWhatIsNone) {
  const std::string path = path_of("no_segment");
  char error[128];
  EXPECT_EQ(driftlock_clock_open(path.c_str(), error, sizeof(error)), nullptr);
  EXPECT_NE(std::string(error).find("No such file"), std::string::npos);
  std::ofstream(path) << std::string(4096, 'x');
  EXPECT_EQ(driftlock_clock_open(path.c_str(), error, sizeof(error)), nullptr);
  EXPECT_NE(std::string(error).find("not a driftlock clock segment"), std::string::npos);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace driftlock
