// NamespaceTable: what each namespace may use, and how it treats a holder that somebody wants to
// replace. Owned by one lcore. A namespace that is not configured has no limits and the policy
// `wait`.
#pragma once

#include <bit>
#include <cstdint>
#include <memory_resource>
#include <vector>

#include "src/base/assert.hpp"
#include "src/base/time.hpp"
#include "src/base/token_bucket.hpp"
#include "src/lock/prediction_mode.hpp"

namespace driftlock {

struct NamespaceOptions {
  std::uint16_t id = 0;
  bool fence = false;                         // policy `fence`: kTakeOver is allowed
  std::uint32_t locks_max = 0;                // 0: no limit of its own
  std::uint32_t sessions_max = 0;             // the same; a session counts from its first acquire
  std::uint32_t acquires_per_second_max = 0;  // 0: no limit; a second's worth may come at once
  // Locks may be granted in advance to who is expected to ask next with at least this chance; 0:
  // none are.
  double advance_hit_min = 0.0;
  PredictionMode prediction = PredictionMode::kAct;  // at most; the node's own mode holds as well
  float suspect_strangeness = 0.0F;  // holders less strange (-ln P) are left alone; 0: the node's
};

class NamespaceTable {
 public:
  NamespaceTable(const std::vector<NamespaceOptions>& configured, std::uint32_t sessions_max,
                 std::pmr::memory_resource* memory)
      : index_(1U << 16, memory), entries_(1, memory), users_(memory) {
    DRIFTLOCK_ASSERT(configured.size() < kConfiguredMax + 1);
    for (const NamespaceOptions& options : configured) {
      index_[options.id] = static_cast<std::uint8_t>(entries_.size());
      entries_.push_back({options, 0, 0, {}});
      if (options.sessions_max != 0) words_ = entries_.size() / kWordBits + 1;
    }
    users_.resize(words_ * sessions_max);
  }
  static constexpr std::size_t kConfiguredMax = 254;

  [[nodiscard]] const NamespaceOptions& options(std::uint16_t id) const {
    return entry(id).options;
  }
  [[nodiscard]] bool fence(std::uint16_t id) const { return entry(id).options.fence; }
  [[nodiscard]] double advance_hit_min(std::uint16_t id) const {
    return entry(id).options.advance_hit_min;
  }
  [[nodiscard]] bool may_create(std::uint16_t id) const {
    const Entry& found = entry(id);
    return found.options.locks_max == 0 || found.locks < found.options.locks_max;
  }
  void created(std::uint16_t id) { ++entry(id).locks; }
  void erased(std::uint16_t id) { --entry(id).locks; }

  // Whether the session may ask for locks there. It counts from now until it ends.
  [[nodiscard]] bool admit_session(std::uint16_t id, std::uint32_t session) {
    const std::size_t at = index_[id];
    Entry& found = entries_[at];
    if (found.options.sessions_max == 0) return true;
    std::uint64_t& users = users_[session * words_ + at / kWordBits];
    const std::uint64_t bit = std::uint64_t{1} << (at % kWordBits);
    if ((users & bit) != 0) return true;
    if (found.sessions >= found.options.sessions_max) return false;
    users |= bit;
    ++found.sessions;
    return true;
  }
  void session_ended(std::uint32_t session) {
    for (std::size_t i = 0; i < words_; ++i) {
      std::uint64_t& users = users_[session * words_ + i];
      for (; users != 0; users &= users - 1) {
        --entries_[i * kWordBits + static_cast<std::size_t>(std::countr_zero(users))].sessions;
      }
    }
  }

  // Takes one acquire from the namespace's bucket; false where it is empty.
  [[nodiscard]] bool admit_acquire(std::uint16_t id, Nanoseconds now_ns) {
    Entry& found = entry(id);
    const double rate = found.options.acquires_per_second_max;
    return rate == 0 || found.acquires.take(now_ns, rate, rate);
  }

 private:
  struct Entry {
    NamespaceOptions options;
    std::uint32_t locks = 0;
    std::uint32_t sessions = 0;  // that count, where sessions_max is set
    TokenBucket acquires;
  };
  [[nodiscard]] Entry& entry(std::uint16_t id) { return entries_[index_[id]]; }
  [[nodiscard]] const Entry& entry(std::uint16_t id) const { return entries_[index_[id]]; }

  std::pmr::vector<std::uint8_t>
      index_;  // by namespace id; 0: the entry of all that are not configured
  std::pmr::vector<Entry> entries_;
  static constexpr std::size_t kWordBits = 64;
  std::size_t words_ = 0;                  // of each session: one bit for each entry; 0: no quotas
  std::pmr::vector<std::uint64_t> users_;  // who counts where
};

}  // namespace driftlock
