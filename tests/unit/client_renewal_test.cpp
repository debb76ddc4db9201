// A client that is asked to renew, and one whose term changes.
#include <gtest/gtest.h>

#include "tests/unit/client_world.hpp"

namespace driftlock {
namespace {

using client::Completion;
using client::Operation;
using client::SessionCore;
using client::SessionOptions;
using test::ClientWorld;

class ClientRenewal : public ::testing::Test {
 protected:
  SessionCore& open_holder(const SessionOptions& options = {}) {
    SessionCore& core = world.add_client(options);
    core.open(world.now());
    EXPECT_TRUE(world.run(20 * kSecond, [&] { return core.is_open(); }));
    Operation acquire;
    acquire.op = wire::Op::kAcquire;
    acquire.name = client::LockName(1, "a");
    const auto id = core.submit(acquire, world.now());
    Completion completion;
    EXPECT_TRUE(world.run(kSecond,
                          [&] { return core.next_completion(completion) && completion.id == id; }));
    return core;
  }
  OrderOutcome order(const SessionCore& core, OrderKind kind, std::uint32_t term_us = 0) {
    const ClockReading now{Interval::around(world.now().tai_ns, 1000), 0, ClockState::kSync};
    return world.engine().obey({.session_id = core.session_id(),
                                .session = world.engine().sessions().find(core.session_id()),
                                .kind = kind,
                                .short_us = term_us,
                                .long_us = term_us},
                               now);
  }
  [[nodiscard]] std::uint64_t renewals() {
    return world.node_counters()
        .operations[static_cast<std::size_t>(wire::Op::kRenew)]
                   [static_cast<std::size_t>(wire::Status::kOk)]
        .read();
  }

  ClientWorld world;
};

TEST_F(ClientRenewal, RenewsAtOnceWhenAsked) {
  SessionCore& core = open_holder();
  const std::uint64_t before = renewals();
  EXPECT_EQ(order(core, OrderKind::kAskLow).result, OrderResult::kDone);
  world.run(20 * kMillisecond);
  EXPECT_EQ(core.counters().renewals_asked, 1U);
  EXPECT_EQ(renewals(), before + 1);
}

TEST_F(ClientRenewal, ARequestThatNobodySignedIsNotAnswered) {
  SessionCore& core = open_holder();
  const std::uint64_t before = renewals();
  world.script = [](bool to_node, std::vector<std::uint8_t>& bytes) {
    if (!to_node) bytes[wire::datagram_bytes(1) - 1] ^= 1;
    return true;
  };
  EXPECT_EQ(order(core, OrderKind::kAskNormal).result, OrderResult::kDone);
  world.run(20 * kMillisecond);
  EXPECT_EQ(core.counters().renewals_asked, 0U);
  EXPECT_EQ(renewals(), before);
}

TEST_F(ClientRenewal, PacesItselfByTheTermThatItGets) {
  SessionCore& core = open_holder();
  order(core, OrderKind::kTerms, 600'000);
  world.run(3 * kSecond);
  EXPECT_EQ(core.term_ns(), 600 * kMillisecond);
  const std::uint64_t before = renewals();
  world.run(2 * kSecond);
  EXPECT_GE(renewals(), before + 8);
  EXPECT_LE(renewals(), before + 12);
  EXPECT_TRUE(core.is_open());
}

TEST_F(ClientRenewal, AFixedTermIsNeverShortened) {
  SessionOptions options;
  options.fixed_term = true;
  options.term_ns = 4 * kSecond;
  SessionCore& core = open_holder(options);
  order(core, OrderKind::kTerms, 600'000);
  world.run(3 * kSecond);
  EXPECT_EQ(core.term_ns(), 4 * kSecond);
  EXPECT_EQ(order(core, OrderKind::kAskLow).result, OrderResult::kNotHolder);
}

}  // namespace
}  // namespace driftlock
