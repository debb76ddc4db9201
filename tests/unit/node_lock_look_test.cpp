#include "src/node/lock_look.hpp"

#include "engine_fixture.hpp"

namespace driftlock::test {
namespace {

class LockLookTest : public EngineFixture {
 protected:
  // As the lcore does it: a slice a turn.
  void look(LockLook& look) {
    while (!look.run(*node_, reading())) {
    }
  }
  [[nodiscard]] std::uint64_t id_of(const Client& client) const {
    return node_->sessions().at(client.session).id;
  }
};

TEST_F(LockLookTest, ShowsHoldersWithTheirTokensAndModes) {
  Client a = open();
  Client b = open();
  const Reply exclusive = acquire(a, "x");
  const Reply shared = acquire(a, "y", 0, Mode::kShared);
  EXPECT_EQ(acquire(b, "y", 0, Mode::kShared).status, Status::kOk);
  LockLook seen(8, false);
  look(seen);
  ASSERT_EQ(seen.entries().size(), 2U);
  const LockLook::Entry& x = seen.entries()[0];
  ASSERT_EQ(x.holder_count, 1U);
  const LockLook::Holder& holder = seen.holders()[x.holder_first];
  EXPECT_EQ(x.key_text(), "x");
  EXPECT_STREQ(x.mode(holder), "exclusive");
  EXPECT_EQ(holder.token, exclusive.token);
  EXPECT_EQ(holder.session_id, id_of(a));
  EXPECT_EQ(holder.lease_end_ns, shared.lease_end_ns);
  const LockLook::Entry& y = seen.entries()[1];
  EXPECT_EQ(y.holder_count, 2U);
  EXPECT_STREQ(y.mode(seen.holders()[y.holder_first]), "shared");
  EXPECT_FALSE(seen.truncated());
}

TEST_F(LockLookTest, StopsWhereItsMemoryEndsAndSaysSo) {
  Client a = open();
  for (const char* key : {"x", "y", "z"}) {
    EXPECT_EQ(acquire(a, key).status, Status::kOk);
  }
  LockLook seen(2, false);
  look(seen);
  EXPECT_EQ(seen.entries().size(), 2U);
  EXPECT_TRUE(seen.truncated());
}

TEST_F(LockLookTest, WaitersComeInOrderAndADeadlockIsFound) {
  Client a = open();
  Client b = open();
  Client c = open();
  EXPECT_EQ(acquire(a, "x").status, Status::kOk);
  EXPECT_EQ(acquire(b, "y").status, Status::kOk);
  EXPECT_EQ(acquire(c, "free").status, Status::kOk);
  EXPECT_EQ(acquire(c, "x", kSecond, Mode::kExclusive, 1).status, Status::kQueued);
  EXPECT_EQ(acquire(b, "x", kSecond, Mode::kExclusive, 1).status, Status::kQueued);
  {
    LockLook seen(8, true);
    look(seen);
    ASSERT_EQ(seen.entries().size(), 1U) << "only locks that somebody waits for";
    ASSERT_EQ(seen.waiters().size(), 2U);
    EXPECT_EQ(seen.waiters()[0].session_id, id_of(c));
    EXPECT_EQ(seen.waiters()[1].session_id, id_of(b));
    EXPECT_TRUE(find_deadlocks(seen.wait_edges()).empty());
  }
  // a waits for b, b for c (before it in the queue), c for a.
  EXPECT_EQ(acquire(a, "y", kSecond, Mode::kExclusive, 1).status, Status::kQueued);
  LockLook seen(8, true);
  look(seen);
  const auto deadlocks = find_deadlocks(seen.wait_edges());
  ASSERT_EQ(deadlocks.size(), 1U);
  EXPECT_EQ(deadlocks[0].size(), 3U);
}

}  // namespace
}  // namespace driftlock::test
