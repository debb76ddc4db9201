#include "tools/check/linearizability.hpp"

#include <algorithm>
#include <unordered_set>

#include "src/base/assert.hpp"
#include "tools/check/lock_model.hpp"

namespace driftlock::check {
namespace {

std::uint64_t mix(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

// Calls and answers in order of time, as a list from which an operation is lifted while it counts
// as done (Wing and Gong). Entry 0 is the head.
class Search {
 public:
  Search(const KeyHistory& history, std::uint64_t configurations_max);
  Findings run();

 private:
  struct Entry {
    std::uint32_t operation = 0;
    bool call = false;
    std::uint32_t partner = 0;  // of a call: its answer
    std::uint32_t next = 0;     // 0: the end
    std::uint32_t previous = 0;
  };
  struct Done {
    std::uint32_t entry;
    std::size_t variant;
    LockState before;
  };
  struct Seen {
    std::uint64_t done;
    std::uint64_t state;
    friend bool operator==(const Seen&, const Seen&) = default;
  };
  struct Hash {
    std::size_t operator()(const Seen& seen) const { return seen.done ^ mix(seen.state); }
  };

  void lift(std::uint32_t entry);
  void put_back(std::uint32_t entry);
  [[nodiscard]] Place place_of(std::uint32_t entry) const;
  // Takes the operation as the next; false where no state not seen before follows.
  bool take(std::uint32_t entry, std::size_t variant);
  [[nodiscard]] std::string explain() const;

  const KeyHistory& history_;
  LockModel model_;
  std::uint64_t configurations_max_;
  std::vector<Entry> entries_;
  std::vector<Done> done_;
  LockState state_;
  std::uint64_t done_hash_ = 0;
  std::unordered_set<Seen, Hash> seen_;
  std::uint64_t configurations_ = 0;
  // Where it got furthest: the answer that could not be explained there.
  std::size_t furthest_ = 0;
  std::uint32_t stuck_at_ = 0;
  LockState furthest_state_;
};

Search::Search(const KeyHistory& history, std::uint64_t configurations_max)
    : history_(history), model_(history), configurations_max_(configurations_max) {
  struct Edge {
    Nanoseconds at_ns;
    bool answer;
    std::uint32_t operation;
  };
  std::vector<Edge> edges;
  for (std::uint32_t i = 0; i < history.operations.size(); ++i) {
    const HistoryOperation& operation = history.operations[i];
    if (operation.outcome == Outcome::kUnanswered) continue;  // the model's ghosts
    edges.push_back({operation.called_ns, false, i});
    edges.push_back({operation.returned_ns, true, i});
  }
  std::stable_sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) {
    return a.at_ns != b.at_ns ? a.at_ns < b.at_ns : a.answer < b.answer;
  });
  std::vector<std::uint32_t> call_of(history.operations.size());
  entries_.resize(edges.size() + 1);
  for (std::uint32_t i = 0; i < edges.size(); ++i) {
    Entry& entry = entries_[i + 1];
    entry.operation = edges[i].operation;
    entry.call = !edges[i].answer;
    entry.previous = i;
    entries_[i].next = i + 1;
    if (entry.call) {
      call_of[entry.operation] = i + 1;
    } else {
      entries_[call_of[entry.operation]].partner = i + 1;
    }
  }
}

void Search::lift(std::uint32_t at) {
  for (const std::uint32_t each : {at, entries_[at].partner}) {
    const Entry& entry = entries_[each];
    entries_[entry.previous].next = entry.next;
    if (entry.next != 0) entries_[entry.next].previous = entry.previous;
  }
}

void Search::put_back(std::uint32_t at) {
  for (const std::uint32_t each : {entries_[at].partner, at}) {
    const Entry& entry = entries_[each];
    entries_[entry.previous].next = each;
    if (entry.next != 0) entries_[entry.next].previous = each;
  }
}

Place Search::place_of(std::uint32_t at) const {
  Place place;
  for (std::uint32_t i = entries_[0].next; i != 0; i = entries_[i].next) {
    const HistoryOperation& operation = history_.operations[entries_[i].operation];
    if (!entries_[i].call) {
      place.before_ns = operation.returned_ns;
      break;
    }
    if (i == at || operation.op == HistoryOp::kRelease) continue;
    const bool tries = operation.outcome == Outcome::kBusy;
    if (!tries) place.others_pending = true;
    if (operation.take_over) place.take_over_pending = true;
  }
  return place;
}

bool Search::take(std::uint32_t at, std::size_t variant) {
  const HistoryOperation& operation = history_.operations[entries_[at].operation];
  std::vector<LockState> after = model_.step(state_, operation, place_of(at));
  const std::uint64_t hash = done_hash_ ^ mix(entries_[at].operation);
  for (; variant < after.size(); ++variant) {
    ++configurations_;
    if (!seen_.insert({hash, LockModel::hash(after[variant])}).second) continue;
    done_.push_back({at, variant, std::move(state_)});
    state_ = std::move(after[variant]);
    done_hash_ = hash;
    lift(at);
    return true;
  }
  return false;
}

Findings Search::run() {
  std::uint32_t at = entries_[0].next;
  std::size_t variant = 0;
  while (entries_[0].next != 0 && configurations_ < configurations_max_) {
    DRIFTLOCK_ASSERT(at != 0);  // an answer of what is not done always stands in between
    if (entries_[at].call) {
      const bool taken = take(at, variant);
      at = taken ? entries_[0].next : entries_[at].next;
      variant = 0;
      continue;
    }
    if (done_.size() >= furthest_) {
      furthest_ = done_.size();
      stuck_at_ = at;
      furthest_state_ = state_;
    }
    if (done_.empty()) break;
    at = done_.back().entry;
    variant = done_.back().variant + 1;
    state_ = std::move(done_.back().before);
    done_hash_ ^= mix(entries_[at].operation);
    put_back(at);
    done_.pop_back();
  }
  Findings findings;
  findings.operations = history_.operations.size();
  findings.keys = 1;
  findings.configurations = configurations_;
  if (entries_[0].next == 0) return findings;
  const bool gave_up = configurations_ >= configurations_max_;
  findings.judgement = gave_up ? Judgement::kUndecided : Judgement::kViolated;
  findings.why = gave_up ? history_.key + ": too many orders to look at" : explain();
  return findings;
}

std::string Search::explain() const {
  const HistoryOperation& operation = history_.operations[entries_[stuck_at_].operation];
  const bool releases = operation.op == HistoryOp::kRelease;
  std::string text = history_.key + ": no order explains the " + to_string(operation.op) +
                     " by client " + std::to_string(operation.client) + ", token " +
                     std::to_string(releases ? operation.token : operation.granted) +
                     ", called at " + std::to_string(operation.called_ns) + " ns, answered at " +
                     std::to_string(operation.returned_ns) + " ns (" +
                     (operation.outcome == Outcome::kOk        ? "ok"
                      : operation.outcome == Outcome::kBusy    ? "busy"
                      : operation.outcome == Outcome::kNotHeld ? "not held"
                                                               : "other") +
                     "); held then:";
  for (const LockState::Holder& holder : furthest_state_.holders) {
    text +=
        " token " + std::to_string(holder.token) + " by client " + std::to_string(holder.client);
  }
  if (furthest_state_.holders.empty()) text += " nothing";
  return text + ", newest token " + std::to_string(furthest_state_.newest_token);
}

}  // namespace

Findings check_key(const KeyHistory& history, std::uint64_t configurations_max) {
  return Search(history, configurations_max).run();
}

Findings check_history(const History& history, std::uint64_t configurations_max) {
  Findings all;
  for (const KeyHistory& key : history.by_key()) {
    const Findings found = check_key(key, configurations_max);
    all.operations += found.operations;
    all.configurations += found.configurations;
    ++all.keys;
    const bool worse =
        all.judgement == Judgement::kLinearizable ||
        (all.judgement == Judgement::kUndecided && found.judgement == Judgement::kViolated);
    if (!worse || found.judgement == Judgement::kLinearizable) continue;
    all.judgement = found.judgement;
    all.why = found.why;
  }
  return all;
}

}  // namespace driftlock::check
