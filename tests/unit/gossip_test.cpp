// Gossip: wire, link, membership, statements, and nodes that talk to each other.
#include "src/cluster/gossip.hpp"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <memory>

namespace driftlock {
namespace {

using gossip::MemberState;
using gossip::Refusal;

const SecretKey kKey{{1, 2, 3, 4}};

gossip::Message full_message() {
  gossip::Message message;
  message.header.session_id = 7;
  message.head.target = 8;
  for (std::size_t i = 0; i < gossip::kStatementsMax; ++i) {
    gossip::Statement statement;
    statement.origin = i + 1;
    message.statements.add(statement);
  }
  for (std::size_t i = 0; i < gossip::kMembersMax; ++i) message.members.add({.id = i + 1});
  for (std::size_t i = 0; i < gossip::kWantsMax; ++i) message.wants.add({.origin = i + 1});
  for (std::size_t i = 0; i < gossip::kLinksMax; ++i) message.links.add({.to = i + 1});
  return message;
}

std::vector<std::uint8_t> encoded(const gossip::Message& message) {
  gossip::Buffer buffer{};
  const std::size_t length = gossip::encode(message, buffer);
  std::vector<std::uint8_t> bytes(buffer.begin(),
                                  buffer.begin() + static_cast<std::ptrdiff_t>(length));
  sign_datagram(kKey, bytes);
  return bytes;
}

TEST(GossipWire, WhatIsWrittenIsRead) {
  const auto bytes = encoded(full_message());
  EXPECT_EQ(bytes.size(), gossip::kBytesMax);
  gossip::Message read;
  ASSERT_EQ(gossip::decode(bytes, kKey, read), Refusal::kNone);
  EXPECT_EQ(read.statements.count, gossip::kStatementsMax);
  EXPECT_EQ(std::uint64_t{read.statements.items[3].origin}, 4U);
  EXPECT_EQ(std::uint64_t{read.links.items[1].to}, 2U);
}

TEST(GossipWire, RefusesByReason) {
  const auto good = encoded(full_message());
  gossip::Message read;
  const auto refusal = [&](std::vector<std::uint8_t> bytes) {
    return gossip::decode(bytes, kKey, read);
  };
  auto bytes = good;
  bytes.pop_back();
  EXPECT_EQ(refusal(bytes), Refusal::kLength);
  EXPECT_EQ(refusal({}), Refusal::kLength);
  bytes = good;
  bytes[5] = 0;
  EXPECT_EQ(refusal(bytes), Refusal::kHeader);
  bytes = good;
  bytes[42] = 200;
  EXPECT_EQ(refusal(bytes), Refusal::kLayout);
  bytes = good;
  bytes[60] ^= 1;
  EXPECT_EQ(refusal(bytes), Refusal::kMac);
  auto message = full_message();
  message.statements.items[0].age_ns = -1;
  EXPECT_EQ(refusal(encoded(message)), Refusal::kContent);
}

TEST(GossipWire, AnAlertIsReadAndAnotherKeyIsNot) {
  gossip::Alert alert;
  alert.header.session_id = 3;
  alert.body.subject = 5;
  alert.body.offset_ns = -77;
  gossip::Buffer buffer{};
  const std::size_t length = gossip::encode(alert, buffer);
  const std::span<std::uint8_t> bytes(buffer.data(), length);
  sign_datagram(kKey, bytes);
  gossip::Alert read;
  ASSERT_EQ(gossip::decode(bytes, kKey, read), Refusal::kNone);
  EXPECT_EQ(std::int64_t{read.body.offset_ns}, -77);
  EXPECT_EQ(gossip::decode(bytes, SecretKey{{9, 9, 9, 9}}, read), Refusal::kMac);
}

TEST(ClockLink, AnIntervalHoldsTheTruthWhateverTheAsymmetry) {
  // The peer is 1 s ahead; 40 us there, 2 us back, then the other way round.
  ClockLink link({});
  constexpr Nanoseconds kAhead = kSecond;
  const auto exchange = [&](Nanoseconds at, Nanoseconds there, Nanoseconds back) {
    return Exchange{at, at + kAhead + there, at + kAhead + there + 100, at + there + 100 + back};
  };
  EXPECT_EQ(link.add(exchange(1'000'000, 40'000, 2'000)), ClockLink::Outcome::kTaken);
  EXPECT_TRUE(link.at(1'042'100).contains(1'042'100 + kAhead));
  EXPECT_EQ(link.add(exchange(1'100'000, 2'000, 40'000)), ClockLink::Outcome::kTaken);
  const Interval now = link.at(1'142'100);
  EXPECT_TRUE(now.contains(1'142'100 + kAhead));
  EXPECT_LT(now.half_width(), 3'000);  // the two asymmetries cut each other short
}

TEST(ClockLink, FalseStampsAreNoticed) {
  ClockLink link({});
  EXPECT_EQ(link.add({1000, 5000, 4000, 3000}), ClockLink::Outcome::kImpossible);
  EXPECT_FALSE(link.known());
  EXPECT_EQ(link.add({1000, 5000, 5100, 3100}), ClockLink::Outcome::kTaken);
  EXPECT_EQ(link.add({10'000, 900'000, 900'100, 12'100}), ClockLink::Outcome::kContradicted);
}

TEST(Membership, OnlyTheNodeItselfClearsItsName) {
  Membership here({.self = 1, .epoch = 5});
  here.suspect(2, 9, 0);
  EXPECT_EQ(here.state(2), MemberState::kSuspect);
  here.learn({.id = 2, .epoch = 9, .incarnation = 0, .state = MemberState::kAlive}, 1);
  EXPECT_EQ(here.state(2), MemberState::kSuspect);
  here.learn({.id = 2, .epoch = 9, .incarnation = 1, .state = MemberState::kAlive}, 2);
  EXPECT_EQ(here.state(2), MemberState::kAlive);
  // A rumour about this node makes it raise its incarnation and say so.
  here.learn({.id = 1, .epoch = 5, .incarnation = 0, .state = MemberState::kDead}, 3);
  EXPECT_EQ(here.incarnation(), 1);
  gossip::Few<gossip::Member, gossip::kMembersMax> told;
  here.tell(2, told);
  ASSERT_GE(told.count, 1U);
  EXPECT_EQ(std::uint64_t{told.items[0].id}, 1U);
}

TEST(Membership, SuspicionEndsInDeathAndANewLifeEndsDeath) {
  Membership here({.self = 1, .epoch = 1, .suspicion_ns = 100});
  here.suspect(2, 3, 0);
  here.step(99);
  EXPECT_EQ(here.state(2), MemberState::kSuspect);
  here.step(100);
  EXPECT_EQ(here.state(2), MemberState::kDead);
  here.heard(2, 3, 101);
  EXPECT_EQ(here.state(2), MemberState::kDead);
  here.heard(2, 4, 102);
  EXPECT_EQ(here.state(2), MemberState::kAlive);
}

// Nodes that share one true time, with datagrams that arrive 20 us later.
class Talk {
 public:
  explicit Talk(std::size_t count) {
    std::vector<Peer> peers;
    for (std::size_t i = 0; i < count; ++i) peers.push_back({i + 1, 0, 1});
    for (std::size_t i = 0; i < count; ++i) {
      GossipOptions options;
      options.self = i + 1;
      options.epoch = 1;
      options.key = kKey;
      options.seed = i + 11;
      nodes_.push_back(std::make_unique<Gossip>(options, PeerList(peers)));
    }
  }
  LocalNow now_of(std::size_t node) const {
    LocalNow now;
    now.local_ns = now_ns_ + static_cast<Nanoseconds>(node) * kSecond;
    now.rate = {1.0 - 1e-6, 1.0 + 1e-6};
    now.clock.state = ClockState::kSync;
    now.clock.estimate_ns = now_ns_ + off_ns[node];
    now.clock.tai = Interval::around(now.clock.estimate_ns, 1'000);
    now.clock.sigma_ns = 100;
    return now;
  }
  void run(Nanoseconds span) {
    for (const Nanoseconds end = now_ns_ + span; now_ns_ < end; now_ns_ += 20'000) {
      std::deque<Flight> arriving;
      arriving.swap(flying_);
      for (Flight& flight : arriving) {
        if (dead == flight.to) continue;
        const LocalNow now = now_of(flight.to);
        nodes_[flight.to]->receive(flight.bytes, now.local_ns, now, sender(flight.to));
        if (keep_all) kept.push_back(flight.bytes);
      }
      for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (dead != i) nodes_[i]->step(now_of(i), sender(i));
      }
    }
  }
  Gossip& node(std::size_t index) { return *nodes_[index]; }
  Gossip::Send sender(std::size_t from) {
    return [this, from](Outgoing& out) {
      const auto bytes = out.finish(kKey, now_of(from).local_ns);
      flying_.push_back({out.to.id - 1, {bytes.begin(), bytes.end()}});
    };
  }

  std::array<Nanoseconds, 8> off_ns{};
  std::size_t dead = 99;
  bool keep_all = false;
  std::vector<std::vector<std::uint8_t>> kept;

 private:
  struct Flight {
    std::size_t to;
    std::vector<std::uint8_t> bytes;
  };
  std::vector<std::unique_ptr<Gossip>> nodes_;
  std::deque<Flight> flying_;
  Nanoseconds now_ns_ = 1'000 * kSecond;
};

TEST(Gossip, ThreeNodesKnowEachOtherAndTheOneThatIsOff) {
  Talk talk(3);
  talk.off_ns[2] = 60'000;
  talk.run(kSecond);
  std::vector<FusionSource> sources;
  talk.node(0).sources(talk.now_of(0), sources);
  ASSERT_EQ(sources.size(), 3U);
  const Fused fused = fuse(sources, talk.node(0).faulty_max());
  ASSERT_TRUE(fused.valid);
  EXPECT_TRUE(fused.hard.contains(talk.now_of(0).clock.estimate_ns));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(fused.verdicts[i] == SourceVerdict::kFalse, sources[i].id == 3) << sources[i].id;
  }
  EXPECT_GT(talk.node(0).counters().closures, 0U);
  EXPECT_EQ(talk.node(0).counters().open_loops, 0U);
  EXPECT_EQ(talk.node(0).counters().bad_stamps, 0U);
}

TEST(Gossip, ASilentNodeIsSuspectedAndThenDead) {
  Talk talk(4);
  talk.run(kSecond);
  talk.dead = 1;
  talk.run(kSecond);
  EXPECT_EQ(talk.node(0).membership().state(2), MemberState::kSuspect);
  talk.run(4 * kSecond);
  for (const std::size_t node : {0U, 2U, 3U}) {
    EXPECT_EQ(talk.node(node).membership().state(2), MemberState::kDead) << node;
  }
}

TEST(Gossip, ARepeatedDatagramChangesNothing) {
  Talk talk(3);
  talk.keep_all = true;
  talk.run(kSecond);
  const GossipCounters before = talk.node(0).counters();
  std::size_t sent = 0;
  for (const auto& bytes : talk.kept) {
    const LocalNow now = talk.now_of(0);
    EXPECT_FALSE(talk.node(0).receive(bytes, now.local_ns, now, [&](Outgoing&) { ++sent; }));
  }
  EXPECT_EQ(sent, 0U);
  EXPECT_EQ(talk.node(0).counters().acks, before.acks);
}

TEST(Gossip, AnAlertIsHeardOnce) {
  Talk talk(3);
  gossip::AlertBody body;
  body.subject = 3;
  body.offset_ns = 5;
  talk.node(0).alert(body, talk.now_of(0), talk.sender(0));
  talk.run(100'000);
  ASSERT_EQ(talk.node(2).alerts().size(), 1U);
  EXPECT_EQ(talk.node(2).alerts()[0].subject, 3U);
  EXPECT_EQ(talk.node(1).alerts().size(), 1U);
}

}  // namespace
}  // namespace driftlock
