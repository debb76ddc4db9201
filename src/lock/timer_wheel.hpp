// TimerWheel: deadlines of a fixed set of timers, each named by a dense number, in O(1) per
// operation whatever their count. Hierarchical: four levels of 256 buckets, a tick being 2^20 ns
// (about 1 ms). Owned by one lcore. A timer fires at or after its instant, never before. Source: G.
// Varghese, T. Lauck, "Hashed and hierarchical timing wheels", SOSP 1987, scheme 7.
#pragma once

#include <array>
#include <cstdint>
#include <memory_resource>
#include <vector>

#include "src/base/assert.hpp"
#include "src/base/time.hpp"

namespace driftlock {

class TimerWheel {
 public:
  TimerWheel(std::uint32_t capacity, std::pmr::memory_resource* memory)
      : timers_(capacity, memory) {
    heads_.fill(kNone);
  }

  // Sets or moves timer `id` to fire once the wheel has passed `when_ns`. The wheel must have been
  // advanced before, so that it knows about when it is.
  void schedule(std::uint32_t id, Nanoseconds when_ns) {
    DRIFTLOCK_ASSERT(current_ != 0);
    cancel(id);
    timers_[id].tick = tick_of(when_ns) + 1;  // the tick that begins after when_ns
    insert(id);
    ++pending_;
  }

  void cancel(std::uint32_t id) {
    if (timers_[id].bucket == kNone) return;
    unlink(id);
    --pending_;
  }

  [[nodiscard]] bool scheduled(std::uint32_t id) const { return timers_[id].bucket != kNone; }
  [[nodiscard]] std::uint32_t pending() const { return pending_; }

  // Moves the wheel towards now_ns and calls fire(id) for each timer passed, which is then
  // unscheduled and may be scheduled again. Does about `budget` steps at most; the next call goes
  // on from there.
  template <typename Fire>
  void advance(Nanoseconds now_ns, std::uint32_t budget, Fire&& fire) {
    if (now_ns < 0) return;  // the clock is lost: no deadline can be judged
    const std::uint64_t target = tick_of(now_ns);
    if (pending_ == 0 && target > current_) {
      current_ = target;
      return;
    }
    while (current_ < target && budget > 0) {
      ++current_;
      --budget;
      cascade();
      const std::uint32_t bucket = static_cast<std::uint32_t>(current_ & kSlotMask);
      while (heads_[bucket] != kNone) {
        if (budget == 0) {  // comes back to this bucket: the tick is not over
          --current_;
          return;
        }
        --budget;
        const std::uint32_t id = heads_[bucket];
        unlink(id);
        --pending_;
        fire(id);
      }
    }
  }

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  static constexpr int kTickShift = 20;
  static constexpr int kLevels = 4;
  static constexpr int kSlotBits = 8;
  static constexpr std::uint64_t kSlotMask = (1U << kSlotBits) - 1;

  struct Timer {
    std::uint64_t tick = 0;
    std::uint32_t next = kNone;
    std::uint32_t previous = kNone;
    std::uint32_t bucket = kNone;  // kNone: not scheduled
  };

  static std::uint64_t tick_of(Nanoseconds when_ns) {
    return when_ns < 0 ? 0 : static_cast<std::uint64_t>(when_ns) >> kTickShift;
  }

  void insert(std::uint32_t id) {
    Timer& timer = timers_[id];
    if (timer.tick <= current_) timer.tick = current_ + 1;
    const std::uint64_t distance = timer.tick - current_;
    int level = 0;
    while (level < kLevels - 1 && distance >> (kSlotBits * (level + 1)) != 0) ++level;
    std::uint64_t tick = timer.tick;
    constexpr std::uint64_t kReach = std::uint64_t{1} << (kSlotBits * kLevels);
    if (distance >= kReach) tick = current_ + kReach - 1;  // put off: cascading looks at it again
    const auto slot = static_cast<std::uint32_t>((tick >> (kSlotBits * level)) & kSlotMask);
    timer.bucket = static_cast<std::uint32_t>(level << kSlotBits) + slot;
    timer.previous = kNone;
    timer.next = heads_[timer.bucket];
    if (timer.next != kNone) timers_[timer.next].previous = id;
    heads_[timer.bucket] = id;
  }

  void unlink(std::uint32_t id) {
    Timer& timer = timers_[id];
    if (timer.next != kNone) timers_[timer.next].previous = timer.previous;
    if (timer.previous != kNone) {
      timers_[timer.previous].next = timer.next;
    } else {
      heads_[timer.bucket] = timer.next;
    }
    timer.bucket = kNone;
  }

  // At the turn of a level, the next bucket of the level above is dealt out below.
  void cascade() {
    for (int level = 1; level < kLevels; ++level) {
      if ((current_ & ((std::uint64_t{1} << (kSlotBits * level)) - 1)) != 0) return;
      const auto slot = static_cast<std::uint32_t>((current_ >> (kSlotBits * level)) & kSlotMask);
      const std::uint32_t bucket = static_cast<std::uint32_t>(level << kSlotBits) + slot;
      std::uint32_t id = heads_[bucket];
      heads_[bucket] = kNone;
      while (id != kNone) {
        const std::uint32_t next = timers_[id].next;
        deal(id);
        id = next;
      }
    }
  }

  // A timer due in the current tick belongs in the bucket that advance() is about to empty.
  void deal(std::uint32_t id) {
    if (timers_[id].tick > current_) {
      insert(id);
      return;
    }
    Timer& timer = timers_[id];
    timer.bucket = static_cast<std::uint32_t>(current_ & kSlotMask);
    timer.previous = kNone;
    timer.next = heads_[timer.bucket];
    if (timer.next != kNone) timers_[timer.next].previous = id;
    heads_[timer.bucket] = id;
  }

  std::pmr::vector<Timer> timers_;
  std::array<std::uint32_t, kLevels << kSlotBits> heads_{};
  std::uint64_t current_ = 0;
  std::uint32_t pending_ = 0;
};

}  // namespace driftlock
