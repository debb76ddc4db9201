// LockLook: a copy of the lock table's state for people, made by the lcore in slices of bounded
// work. The asking thread makes it, asks the shard, and reads it afterwards; all memory is taken
// before it is asked.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "src/lock/deadlock.hpp"
#include "src/lock/fast_path.hpp"

namespace driftlock {

class LockLook final : public EngineTask {
 public:
  struct Holder {
    std::uint64_t client_id = 0;
    std::uint64_t session_id = 0;
    std::uint64_t token = 0;
    Nanoseconds lease_end_ns = 0;
    std::uint32_t held_us = 0;  // modulo 2^32: 71 minutes
    std::uint16_t permits = 0;
  };
  struct Waiter {
    std::uint64_t client_id = 0;
    std::uint64_t session_id = 0;
    std::uint32_t waited_us = 0;  // modulo 2^32
  };
  struct Entry {
    std::uint16_t namespace_id = 0;
    std::uint16_t permits_max = 0;
    std::uint32_t waiters = 0;
    std::size_t key_length = 0;
    std::array<std::uint8_t, wire::kKeyBytesMax> key{};
    std::size_t holder_first = 0;  // in holders()
    std::size_t holder_count = 0;
    std::size_t waiter_first = 0;  // in waiters(), in order of arrival
    std::size_t waiter_count = 0;

    [[nodiscard]] const char* mode(const Holder& holder) const;
    [[nodiscard]] std::string key_text() const { return {key.begin(), key.begin() + key_length}; }
  };

  // At most `locks_max` locks, and kClaimsPerLock holders of each on average. `waiting`: only those
  // that somebody waits for, with as many waiters.
  LockLook(std::size_t locks_max, bool waiting);

  [[nodiscard]] bool run(Engine& engine, const ClockReading& now) override;

  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  [[nodiscard]] const std::vector<Holder>& holders() const { return holders_; }
  [[nodiscard]] const std::vector<Waiter>& waiters() const { return waiters_; }
  // Who waits for whom: each waiter for the one before it, the first for the holders. The slices
  // are of different instants, so an edge may be of a moment ago; a deadlock stays. `lock` is the
  // index in entries().
  [[nodiscard]] std::vector<WaitEdge> wait_edges() const;
  [[nodiscard]] bool truncated() const { return truncated_; }
  [[nodiscard]] const ClockReading& taken_at() const { return taken_at_; }  // the last slice

 private:
  static constexpr std::size_t kClaimsPerLock = 4;
  static constexpr std::uint32_t kRecordsPerTurn = 256;

  void copy(const Engine& engine, std::uint32_t lock_index, const ClockReading& now);
  void copy_holders(const Engine& engine, std::uint32_t lock_index, std::uint32_t now_us);
  void copy_waiters(const Engine& engine, std::uint32_t lock_index, std::uint32_t now_us);

  const bool waiting_;
  std::uint32_t cursor_ = 0;
  bool truncated_ = false;
  ClockReading taken_at_;
  std::vector<Entry> entries_;  // capacity is set at construction and never exceeded
  std::vector<Holder> holders_;
  std::vector<Waiter> waiters_;
};

}  // namespace driftlock
