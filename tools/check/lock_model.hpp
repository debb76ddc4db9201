// LockModel: one lock as its clients may count on it, the sequential object of the linearizability
// check. It knows no leases' lengths and no clocks: a hold ends by its release, or at some instant
// after its holder was last told that it holds the lock. Pure.
#pragma once

#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tools/check/history.hpp"

namespace driftlock::check {

struct LockState {
  struct Holder {
    std::uint64_t token = 0;
    std::uint32_t client = 0;
    std::uint32_t permits = 0;
    std::uint32_t depth = 0;
    friend bool operator==(const Holder&, const Holder&) = default;
  };
  std::vector<Holder> holders;     // by token
  std::uint64_t newest_token = 0;  // of all that were granted
};

// What surrounds an operation at its place in an order.
struct Place {
  // The operation takes effect before this: the next answer that has not been explained.
  Nanoseconds before_ns = kNever;
  // Another request, called by then and not explained yet, may stand in the queue or hold.
  bool others_pending = false;
  bool take_over_pending = false;
};

class LockModel {
 public:
  explicit LockModel(const KeyHistory& history);

  // The states in which the lock may be after the operation; none: it cannot have been answered so.
  // More than one, because it is open which of the holds that may be over were over.
  [[nodiscard]] std::vector<LockState> step(const LockState& state,
                                            const HistoryOperation& operation,
                                            const Place& place) const;
  [[nodiscard]] static std::uint64_t hash(const LockState& state);

 private:
  using Holder = LockState::Holder;
  [[nodiscard]] std::vector<LockState> acquire(const LockState& state,
                                               const HistoryOperation& operation,
                                               const Place& place) const;
  [[nodiscard]] std::vector<LockState> release(const LockState& state,
                                               const HistoryOperation& operation,
                                               const Place& place) const;
  [[nodiscard]] std::vector<LockState> convert(const LockState& state,
                                               const HistoryOperation& operation,
                                               const Place& place) const;
  [[nodiscard]] std::vector<LockState> grant(const LockState& state, const Holder& fresh,
                                             std::uint32_t size, const Place& place) const;
  // The hold may be over before the place.
  [[nodiscard]] bool may_be_over(const Holder& holder, const Place& place) const;
  [[nodiscard]] bool next_token(const LockState& state, std::uint64_t token) const;
  [[nodiscard]] bool lost_sight(std::uint32_t client, Nanoseconds before_ns) const;
  [[nodiscard]] bool was_lost_sight_of(const HistoryOperation& operation) const;
  [[nodiscard]] bool blocked(const LockState& state, const HistoryOperation& operation,
                             const Place& place) const;

  std::unordered_map<std::uint64_t, Nanoseconds> over_from_ns_;  // by token
  std::unordered_set<std::uint64_t> uncertain_;  // tokens of a conversion without an answer
  std::vector<std::uint64_t> tokens_;            // known grants, rising, each once
  std::unordered_map<std::uint64_t, std::uint32_t> client_of_;  // by token
  struct Ghost {                                                // an acquire without an answer
    Nanoseconds called_ns = 0;
    std::uint32_t client = 0;
    bool take_over = false;
  };
  std::vector<Ghost> ghosts_;
  std::vector<Nanoseconds> upgrades_;     // calls of conversions without an answer
  std::vector<HistoryOperation> groups_;  // acquires of this lock with others
  std::vector<Ghost> passing_;            // acquires that came to nothing
};

}  // namespace driftlock::check
