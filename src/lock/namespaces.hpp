// NamespaceTable: what each namespace may use, and how it treats a holder that somebody wants to
// replace. Owned by one lcore. A namespace that is not configured has no limits and the policy
// `wait`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory_resource>
#include <vector>

#include "src/base/assert.hpp"
#include "src/base/time.hpp"

namespace driftlock {

// How far the predictor may go.
enum class PredictionMode : std::uint8_t {
  kOff,     // not even a record
  kShadow,  // would-have-been actions are recorded with what came of them
  kAct,
};

struct NamespaceOptions {
  std::uint16_t id = 0;
  bool fence = false;                         // policy `fence`: kTakeOver is allowed
  std::uint32_t locks_max = 0;                // 0: no limit of its own
  std::uint32_t acquires_per_second_max = 0;  // 0: no limit; a second's worth may come at once
  // Locks may be granted in advance to who is expected to ask next with at least this chance; 0:
  // none are.
  double advance_hit_min = 0.0;
  PredictionMode prediction = PredictionMode::kAct;  // at most; the node's own mode holds as well
  float suspect_strangeness = 0.0F;  // holders less strange (-ln P) are left alone; 0: the node's
};

class NamespaceTable {
 public:
  NamespaceTable(const std::vector<NamespaceOptions>& configured, std::pmr::memory_resource* memory)
      : index_(1U << 16, memory), entries_(1, memory) {
    DRIFTLOCK_ASSERT(configured.size() < 255);
    for (const NamespaceOptions& options : configured) {
      index_[options.id] = static_cast<std::uint8_t>(entries_.size());
      entries_.push_back({options, 0, 0.0, kLongAgo});
    }
  }

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

  // Takes one acquire from the namespace's bucket; false where it is empty.
  [[nodiscard]] bool admit_acquire(std::uint16_t id, Nanoseconds now_ns) {
    Entry& found = entry(id);
    const double rate = found.options.acquires_per_second_max;
    if (rate == 0) return true;
    if (found.filled_ns == kLongAgo) {
      found.filled_ns = now_ns;
      found.bucket = rate;
    }
    if (now_ns > found.filled_ns) {
      const double seconds = static_cast<double>(now_ns - found.filled_ns) / 1e9;
      found.bucket = std::min(rate, found.bucket + seconds * rate);
      found.filled_ns = now_ns;
    }
    if (found.bucket < 1.0) return false;
    found.bucket -= 1.0;
    return true;
  }

 private:
  struct Entry {
    NamespaceOptions options;
    std::uint32_t locks = 0;
    double bucket = 0.0;
    Nanoseconds filled_ns = kLongAgo;
  };
  [[nodiscard]] Entry& entry(std::uint16_t id) { return entries_[index_[id]]; }
  [[nodiscard]] const Entry& entry(std::uint16_t id) const { return entries_[index_[id]]; }

  std::pmr::vector<std::uint8_t>
      index_;  // by namespace id; 0: the entry of all that are not configured
  std::pmr::vector<Entry> entries_;
};

}  // namespace driftlock
