#include "tools/check/lock_model.hpp"

#include <algorithm>

namespace driftlock::check {
namespace {

using Holder = LockState::Holder;

std::uint32_t used(const LockState& state) {
  std::uint32_t sum = 0;
  for (const Holder& holder : state.holders) sum += holder.permits;
  return sum;
}

auto find(LockState& state, std::uint64_t token) {
  return std::find_if(state.holders.begin(), state.holders.end(),
                      [token](const Holder& holder) { return holder.token == token; });
}

void insert(LockState& state, const Holder& fresh) {
  const auto place = std::find_if(state.holders.begin(), state.holders.end(),
                                  [&](const Holder& holder) { return holder.token > fresh.token; });
  state.holders.insert(place, fresh);
  state.newest_token = std::max(state.newest_token, fresh.token);
}

}  // namespace

LockModel::LockModel(const KeyHistory& history) {
  for (const HistoryOperation& operation : history.operations) {
    const bool unanswered = operation.outcome == Outcome::kUnanswered;
    if (operation.op == HistoryOp::kAcquire && unanswered) {
      ghosts_.push_back({operation.called_ns, operation.client, operation.take_over});
    }
    // Perhaps granted, and given back again before it was answered.
    if (operation.op == HistoryOp::kAcquire && operation.outcome == Outcome::kOther) {
      passing_.push_back({operation.called_ns, operation.client, operation.take_over});
    }
    if (operation.group) groups_.push_back(operation);
    if (operation.op == HistoryOp::kConvert && unanswered) {
      upgrades_.push_back(operation.called_ns);
      uncertain_.insert(operation.token);
      const auto place = over_from_ns_.try_emplace(operation.token, operation.called_ns).first;
      place->second = std::min(place->second, operation.called_ns);
    }
    if (operation.outcome == Outcome::kOk && operation.op != HistoryOp::kRelease) {
      client_of_[operation.granted] = operation.client;
    }
  }
  for (const HistoryOperation& operation : history.operations) {
    const bool grants = operation.outcome == Outcome::kOk && operation.op != HistoryOp::kRelease;
    const bool converts = operation.op == HistoryOp::kConvert;
    if (grants && (converts || !was_lost_sight_of(operation))) tokens_.push_back(operation.granted);
  }
  std::sort(tokens_.begin(), tokens_.end());
  tokens_.erase(std::unique(tokens_.begin(), tokens_.end()), tokens_.end());
  for (const auto& [token, at_ns] : history.believed_ns) {
    const auto place = over_from_ns_.try_emplace(token, at_ns).first;
    if (!uncertain_.contains(token)) place->second = at_ns;
  }
}

bool LockModel::may_be_over(const Holder& holder, const Place& place) const {
  if (place.take_over_pending) return true;
  for (const Ghost& ghost : ghosts_) {
    if (ghost.take_over && ghost.called_ns < place.before_ns) return true;
  }
  const auto found = over_from_ns_.find(holder.token);
  return found == over_from_ns_.end() || found->second < place.before_ns;
}

// Grants that are known to have been made come in the order of their tokens.
bool LockModel::next_token(const LockState& state, std::uint64_t token) const {
  const auto next = std::upper_bound(tokens_.begin(), tokens_.end(), state.newest_token);
  return next != tokens_.end() && *next == token;
}

// The client had an acquire without an answer, or one that was perhaps granted and given back: its
// session may hold the lock once more than its answers tell.
bool LockModel::lost_sight(std::uint32_t client, Nanoseconds before_ns) const {
  const auto before = [&](const Ghost& ghost) {
    return ghost.client == client && ghost.called_ns < before_ns;
  };
  return std::any_of(ghosts_.begin(), ghosts_.end(), before) ||
         std::any_of(passing_.begin(), passing_.end(), before);
}

bool LockModel::was_lost_sight_of(const HistoryOperation& operation) const {
  const auto owner = client_of_.find(operation.granted);
  return owner != client_of_.end() && owner->second == operation.client &&
         lost_sight(operation.client, operation.returned_ns);
}

std::vector<LockState> LockModel::step(const LockState& state, const HistoryOperation& operation,
                                       const Place& place) const {
  switch (operation.op) {
    case HistoryOp::kAcquire:
      return acquire(state, operation, place);
    case HistoryOp::kRelease:
      return release(state, operation, place);
    case HistoryOp::kConvert:
      return convert(state, operation, place);
  }
  return {};
}

bool LockModel::blocked(const LockState& state, const HistoryOperation& operation,
                        const Place& place) const {
  if (place.others_pending || used(state) + operation.permits > operation.size) return true;
  if (std::any_of(ghosts_.begin(), ghosts_.end(),
                  [&](const Ghost& ghost) { return ghost.called_ns < place.before_ns; })) {
    return true;
  }
  // What is promised to a group is not held yet: its own client cannot take it once more.
  if (std::any_of(groups_.begin(), groups_.end(), [&](const HistoryOperation& group) {
        return group.client == operation.client && group.called_ns < operation.returned_ns &&
               group.returned_ns > operation.called_ns;
      })) {
    return true;
  }
  return std::any_of(upgrades_.begin(), upgrades_.end(),
                     [&](Nanoseconds called_ns) { return called_ns < place.before_ns; });
}

std::vector<LockState> LockModel::acquire(const LockState& state, const HistoryOperation& operation,
                                          const Place& place) const {
  if (operation.outcome == Outcome::kBusy && !blocked(state, operation, place)) return {};
  if (operation.cancelled && operation.take_over) {
    // It may have been granted and given back: those whom it took over have lost it.
    LockState taken = state;
    std::erase_if(taken.holders,
                  [&](const Holder& holder) { return holder.client != operation.client; });
    return {state, taken};
  }
  if (operation.outcome != Outcome::kOk) return {state};
  LockState after = state;
  const bool reader_writer = operation.size == kAllPermits;
  if (const auto again = find(after, operation.granted); again != after.holders.end()) {
    if (again->client != operation.client || !reader_writer) return {};
    ++again->depth;
    return {after};
  }
  const Holder fresh{operation.granted, operation.client, operation.permits, 1};
  const bool rises = operation.granted > state.newest_token && next_token(state, operation.granted);
  if (!rises && !was_lost_sight_of(operation)) return {};
  std::vector<LockState> states = grant(after, fresh, operation.size, place);
  if (!operation.take_over) return states;
  // Where it could not be taken over it was an acquire like any other.
  std::erase_if(after.holders,
                [&](const Holder& holder) { return holder.client != operation.client; });
  for (LockState& taken : grant(after, fresh, operation.size, place)) {
    states.push_back(std::move(taken));
  }
  return states;
}

// Ends as few of the holds that may be over as make room, in every way.
std::vector<LockState> LockModel::grant(const LockState& state, const Holder& fresh,
                                        std::uint32_t size, const Place& place) const {
  std::vector<std::size_t> over;
  for (std::size_t i = 0; i < state.holders.size(); ++i) {
    if (may_be_over(state.holders[i], place)) over.push_back(i);
  }
  constexpr std::size_t kSubsetsOf = 10;  // more of them are ended all at once
  const std::size_t subsets = over.size() <= kSubsetsOf ? std::size_t{1} << over.size() : 2;
  std::vector<std::size_t> enough;
  std::vector<LockState> states;
  for (std::size_t subset = 0; subset < subsets; ++subset) {
    const bool minimal = std::none_of(enough.begin(), enough.end(), [&](std::size_t smaller) {
      return (smaller & subset) == smaller;
    });
    if (!minimal) continue;
    LockState after = state;
    for (std::size_t i = over.size(); i-- > 0;) {
      const bool ends = over.size() <= kSubsetsOf ? (subset >> i & 1) != 0 : subset != 0;
      if (ends) after.holders.erase(after.holders.begin() + static_cast<std::ptrdiff_t>(over[i]));
    }
    if (used(after) + fresh.permits > size) continue;
    insert(after, fresh);
    enough.push_back(subset);
    states.push_back(std::move(after));
  }
  return states;
}

std::vector<LockState> LockModel::release(const LockState& state, const HistoryOperation& operation,
                                          const Place& place) const {
  if (operation.outcome == Outcome::kOther) return {state};
  if (uncertain_.contains(operation.token)) {
    LockState without = state;
    std::erase_if(without.holders,
                  [&](const Holder& holder) { return holder.token == operation.token; });
    return {state, without};
  }
  LockState after = state;
  const auto held = find(after, operation.token);
  const bool mine = held != after.holders.end() && held->client == operation.client;
  if (operation.outcome == Outcome::kOk) {
    if (!mine && lost_sight(operation.client, operation.returned_ns)) return {state};
    if (!mine) return {};
    if (--held->depth == 0) after.holders.erase(held);
    return {after};
  }
  if (!mine) return {state};
  if (!may_be_over(*held, place)) return {};
  // The client's session of now does not hold it. Its session before may, until its lease and lock
  // delay are past.
  after.holders.erase(held);
  return {after, state};
}

std::vector<LockState> LockModel::convert(const LockState& state, const HistoryOperation& operation,
                                          const Place& place) const {
  LockState after = state;
  const auto held = find(after, operation.token);
  const bool mine = held != after.holders.end() && held->client == operation.client;
  if (operation.outcome == Outcome::kNotHeld) {
    if (!mine) return {state};
    if (!may_be_over(*held, place)) return {};
    after.holders.erase(held);
    return {after, state};  // as at a release
  }
  if (operation.outcome != Outcome::kOk) return {state};
  const bool maybe =
      uncertain_.contains(operation.token) || lost_sight(operation.client, operation.returned_ns);
  if (!mine && !maybe) return {};
  const bool fresh = operation.granted != operation.token;
  if (fresh && !next_token(state, operation.granted)) return {};
  Holder changed{operation.granted, operation.client, operation.permits, 1};
  if (mine) {
    changed.depth = held->depth;
    after.holders.erase(held);
  }
  return grant(after, changed, operation.size, place);
}

// Field by field: a sum of them would take the next token of the next client for the same holder.
std::uint64_t LockModel::hash(const LockState& state) {
  std::uint64_t mixed = 0;
  const auto add = [&mixed](std::uint64_t value) {
    mixed = (mixed ^ value) * 0xD6E8FEB86659FD93ULL;
    mixed ^= mixed >> 32;
  };
  add(state.newest_token);
  for (const Holder& holder : state.holders) {
    add(holder.token);
    add(std::uint64_t{holder.client} << 32 | holder.permits);
    add(holder.depth);
  }
  return mixed;
}

}  // namespace driftlock::check
