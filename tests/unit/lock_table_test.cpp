// The lock table's own structures against plain ones, under random operations.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "src/lock/claim_lists.hpp"
#include "src/lock/key_index.hpp"
#include "src/lock/lock_table.hpp"

namespace driftlock {
namespace {

TEST(ClaimLists, KeepEverySessionsClaims) {
  constexpr std::uint32_t kClaims = 200;
  constexpr std::uint32_t kSessions = 9;
  ClaimLists lists(kClaims, kSessions, std::pmr::new_delete_resource());
  std::array<ClaimList, kSessions> heads;
  std::vector<std::uint32_t> place(kClaims);
  std::vector<std::uint32_t> owner(kClaims, kNil);
  std::mt19937 random(1);
  for (int step = 0; step < 50'000; ++step) {
    const std::uint32_t claim = static_cast<std::uint32_t>(random() % kClaims);
    if (owner[claim] == kNil) {
      owner[claim] = static_cast<std::uint32_t>(random() % kSessions);
      place[claim] = lists.push(heads[owner[claim]], claim);
    } else {
      const std::uint32_t moved = lists.remove(heads[owner[claim]], place[claim]);
      if (moved != kNil) place[moved] = place[claim];
      owner[claim] = kNil;
    }
    if (step % 100 != 0) continue;
    for (std::uint32_t session = 0; session < kSessions; ++session) {
      std::uint32_t seen = 0;
      for (std::uint32_t at = lists.last(heads[session]); at != kNil;
           at = lists.before(place[at])) {
        ASSERT_EQ(owner[at], session);
        ++seen;
      }
      ASSERT_EQ(seen, heads[session].count);
    }
  }
}

TEST(KeyIndex, FindsWhatWasPutInAndNothingElse) {
  constexpr std::uint32_t kEntries = 300;
  KeyIndex index(kEntries, std::pmr::new_delete_resource());
  std::map<std::uint32_t, std::uint64_t> kept;  // entry to hash
  std::mt19937_64 random(2);
  for (int step = 0; step < 50'000; ++step) {
    const auto entry = static_cast<std::uint32_t>(random() % kEntries);
    const auto found = kept.find(entry);
    if (found == kept.end()) {
      // Few buckets and few tags, so that both collide and buckets overflow; tag 0 among them.
      const std::uint64_t hash = (random() % 3) << 48 | (random() % 40) * 0x6666666;
      if (index.insert(hash, entry)) kept[entry] = hash;
    } else {
      index.erase(found->second, entry);
      kept.erase(found);
    }
    if (step % 50 != 0) continue;
    for (const auto& [each, hash] : kept) {
      const std::uint32_t wanted = each;
      ASSERT_EQ(index.find(hash, [&](std::uint32_t at) { return at == wanted; }), wanted);
    }
  }
  const auto kept_copy = kept;
  for (const auto& [entry, hash] : kept_copy) index.erase(hash, entry);
  EXPECT_EQ(index.find(0, [](std::uint32_t) { return true; }), kNil);
}

TEST(KeyStore, TellsKeysOfEveryLengthApart) {
  LockTable table({.locks_max = 256, .claims_max = 1, .long_keys_max = 128}, 1,
                  std::pmr::new_delete_resource());
  std::vector<std::string> keys;
  for (std::size_t length = 1; length <= wire::kKeyBytesMax; ++length) {
    keys.emplace_back(length, 'a');
    keys.emplace_back(std::string(length - 1, 'a') + 'b');
    keys.emplace_back('b' + std::string(length - 1, 'a') + (length > 1 ? "" : "c"));
  }
  const auto name_of = [](const std::string& key) {
    return LockName{7, {reinterpret_cast<const std::uint8_t*>(key.data()), key.size()}};
  };
  std::map<std::uint32_t, std::string> made;
  for (const std::string& key : keys) {
    const LockName name = name_of(key);
    if (table.find(table.hash(name), name) != kNil) continue;
    const std::uint32_t lock = table.create(table.hash(name), name, kRwPermits);
    ASSERT_NE(lock, kNil);
    made[lock] = key;
  }
  for (const auto& [lock, key] : made) {
    const LockName name = name_of(key);
    EXPECT_EQ(table.find(table.hash(name), name), lock);
    EXPECT_EQ(table.hash_of(lock), table.hash(name));
    EXPECT_EQ(table.namespace_of(lock), 7);
  }
  EXPECT_EQ(table.locks_in_use(), made.size());
  for (const auto& [lock, key] : made) table.erase(lock, table.hash_of(lock));
  EXPECT_EQ(table.locks_in_use(), 0U);
}

TEST(LockTable, ALockThatNobodyElseWantsIsOneCacheLine) {
  LockTable table({.locks_max = 1U << 20, .claims_max = 1U << 10, .long_keys_max = 1}, 1U << 10,
                  std::pmr::new_delete_resource());
  EXPECT_LE(table.bytes_per_lock(), 96.0);
}

}  // namespace
}  // namespace driftlock
