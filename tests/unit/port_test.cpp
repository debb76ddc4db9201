#include <gtest/gtest.h>

#include <cstring>
#include <string_view>

#include "hw/device_clock.hpp"
#include "hw/socket_port.hpp"
#include "hw/stamp_clock.hpp"
#include "hw/tick_counter.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {
namespace {

constexpr std::uint32_t kLoopback = 0x7F000001;
constexpr Nanoseconds kPatience = 5 * kSecond;

std::unique_ptr<SocketPort> open_port(std::uint32_t buffers = 64) {
  auto port = SocketPort::open({.ipv4 = kLoopback, .buffers = buffers});
  EXPECT_TRUE(port.ok()) << port.error().message;
  return std::move(port).value();
}

void send_text(SocketPort& from, const SocketPort& to, std::string_view text) {
  Datagram datagram;
  ASSERT_TRUE(from.allocate(datagram));
  ASSERT_GE(datagram.capacity, wire::kDatagramBytesMax);
  std::memcpy(datagram.payload, text.data(), text.size());
  datagram.length = static_cast<std::uint16_t>(text.size());
  datagram.peer = {kLoopback, to.udp_port(), {}};
  from.send({&datagram, 1});
}

std::string_view text_of(const Datagram& datagram) {
  return {reinterpret_cast<const char*>(datagram.payload), datagram.length};
}

TEST(SocketPort, CarriesADatagramAndItsAnswerInPlace) {
  const auto node = open_port();
  const auto client = open_port();
  send_text(*client, *node, "lock!");
  ASSERT_TRUE(node->wait(kPatience));
  std::array<Datagram, kBurst> burst;
  ASSERT_EQ(node->receive(burst), 1U);
  EXPECT_EQ(text_of(burst[0]), "lock!");
  EXPECT_EQ(burst[0].peer, (Endpoint{kLoopback, client->udp_port(), {}}));
  std::memcpy(burst[0].payload, "yours", 5);
  node->send({burst.data(), 1});
  ASSERT_TRUE(client->wait(kPatience));
  ASSERT_EQ(client->receive(burst), 1U);
  EXPECT_EQ(text_of(burst[0]), "yours");
  client->release(burst[0]);
  EXPECT_EQ(client->receive(burst), 0U);
}

TEST(SocketPort, StampsByTheKernelWithinTheSending) {
  const auto node = open_port();
  const auto client = open_port();
  // The kernel begins to stamp a while after the first socket has asked for it.
  for (int attempt = 0; attempt < 10'000; ++attempt) {
    const std::uint64_t before = read_ticks();
    send_text(*client, *node, "x");
    const std::uint64_t after = read_ticks();
    ASSERT_TRUE(node->wait(kPatience));
    Datagram datagram;
    ASSERT_EQ(node->receive({&datagram, 1}), 1U);
    const ReceiveStamp stamp = datagram.stamp;
    node->release(datagram);
    if (stamp.source != StampSource::kSoftware) {
      EXPECT_EQ(stamp.source, StampSource::kTsc);
      continue;
    }
    // What the conversion from CLOCK_REALTIME may be off by, with a large margin.
    const auto slack = static_cast<std::uint64_t>(kMillisecond / nominal_ns_per_tick());
    EXPECT_GE(stamp.ticks, before - slack);
    EXPECT_LE(stamp.ticks, after + slack);
    return;
  }
  FAIL() << "no stamp of the kernel's in 10,000 datagrams";
}

TEST(SocketPort, BuffersComeBackHoweverTheyLeave) {
  const auto node = open_port(kBurst);
  const auto client = open_port(kBurst);
  std::array<Datagram, kBurst> burst;
  for (int round = 0; round < 100; ++round) {
    for (std::size_t i = 0; i < kBurst; ++i) send_text(*client, *node, "x");
    std::size_t received = 0;
    while (received < kBurst) {
      ASSERT_TRUE(node->wait(kPatience));
      const std::size_t count = node->receive(burst);
      received += count;
      for (std::size_t i = 0; i < count; ++i) node->release(burst[i]);
    }
  }
  // All of them are there again, and no more.
  for (std::size_t i = 0; i < kBurst; ++i) ASSERT_TRUE(node->allocate(burst[i]));
  Datagram none;
  EXPECT_FALSE(node->allocate(none));
  EXPECT_EQ(node->counters().no_buffer.read(), 1U);
  // Without a buffer nothing is received, and nothing is lost.
  send_text(*client, *node, "later");
  EXPECT_EQ(node->receive(burst), 0U);
  node->release(burst[0]);
  ASSERT_TRUE(node->wait(kPatience));
  Datagram late;
  ASSERT_EQ(node->receive({&late, 1}), 1U);
  EXPECT_EQ(text_of(late), "later");
}

TEST(SocketPort, AnUnreachablePeerCostsItsOwnDatagramOnly) {
  const auto node = open_port();
  const auto client = open_port();
  std::array<Datagram, 3> pushes;
  for (Datagram& push : pushes) {
    ASSERT_TRUE(node->allocate(push));
    push.length = 1;
    push.peer = {kLoopback, client->udp_port(), {}};
  }
  pushes[1].peer.ipv4 = 0xFFFFFFFF;  // broadcast: refused by the kernel
  node->send(pushes);
  EXPECT_EQ(node->counters().sent.read(), 2U);
  EXPECT_EQ(node->counters().send_drops.read(), 1U);
}

TEST(SocketPort, SaysWhatToDoWhereThePortIsTaken) {
  const auto first = open_port();
  const auto second = SocketPort::open({.ipv4 = kLoopback, .udp_port = first->udp_port()});
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message.find("port free?"), std::string::npos);
}

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

}  // namespace
}  // namespace driftlock
