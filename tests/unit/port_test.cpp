#include <gtest/gtest.h>

#include <cstring>
#include <string_view>

#include "hw/socket_port.hpp"
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

}  // namespace
}  // namespace driftlock
