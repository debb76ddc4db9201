#include "src/predict/contention.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

constexpr std::uint8_t kVotesMax = 12;
constexpr std::uint8_t kWeightMax = 32;
constexpr std::uint8_t kWeightNew = 2;
constexpr float kLearn = 0.125F;
constexpr std::uint8_t kHoldsAveraged = 32;
constexpr std::uint32_t kActedKnown = 64;
constexpr double kRaiseMax = 0.03;
constexpr std::uint32_t kSpreadKnown = 512;
constexpr double kOctavesUnknown = 3.0;
constexpr std::uint32_t kSpreadForgetAt = 4096;
constexpr std::uint32_t kSpreadEvery = 64;

std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

void learn_mean(float& mean, double value, float learn = kLearn) {
  mean =
      mean == 0.0F ? static_cast<float>(value) : mean + learn * (static_cast<float>(value) - mean);
}

// How long it has been held, in classes of a quarter of the mean hold.
std::size_t elapsed_class(double hold_ns, Nanoseconds elapsed_ns) {
  const double quarters = 4.0 * static_cast<double>(elapsed_ns) / hold_ns;
  return static_cast<std::size_t>(
      std::clamp(quarters, 0.0, ContentionModel::kElapsedClasses - 1.0));
}

}  // namespace

ContentionModel::ContentionModel(const ContentionOptions& options,
                                 std::pmr::memory_resource* memory)
    : options_(options),
      entries_(options.locks_max, memory),
      contexts_(options.contexts_max, memory),
      guard_(options.tail),
      round_trip_ns_(options.round_trip_ns) {
  rests_.fill(1.0F);
  DRIFTLOCK_ASSERT(std::has_single_bit(options.locks_max) && options.locks_max >= kWays);
  DRIFTLOCK_ASSERT(std::has_single_bit(options.contexts_max));
}

const ContentionModel::Entry* ContentionModel::find(std::uint64_t lock) const {
  const std::size_t set = mixed(lock) & (entries_.size() - 1) & ~(kWays - 1);
  for (std::size_t way = 0; way < kWays; ++way) {
    if (entries_[set + way].lock == lock) return &entries_[set + way];
  }
  return nullptr;
}

ContentionModel::Entry* ContentionModel::find(std::uint64_t lock) {
  return const_cast<Entry*>(static_cast<const ContentionModel*>(this)->find(lock));
}

// A newcomer wears down the lightest of its set and takes the place at 0, so that locks asked for
// often stay and a stream of others passes.
ContentionModel::Entry* ContentionModel::find_or_admit(std::uint64_t lock) {
  if (lock == 0) return nullptr;
  if (Entry* found = find(lock)) {
    if (found->weight < kWeightMax) ++found->weight;
    return found;
  }
  const std::size_t set = mixed(lock) & (entries_.size() - 1) & ~(kWays - 1);
  const auto first = entries_.begin() + static_cast<std::ptrdiff_t>(set);
  Entry& lightest = *std::min_element(
      first, first + kWays, [](const Entry& a, const Entry& b) { return a.weight < b.weight; });
  if (lightest.weight > 0) {
    --lightest.weight;
    return nullptr;
  }
  lightest = Entry{};
  lightest.lock = lock;
  lightest.weight = kWeightNew;
  return &lightest;
}

std::uint64_t ContentionModel::context_hash(const Entry& entry, Rule rule) {
  const std::uint64_t older = rule == kAfter2 ? entry.before_last + 1ULL : 0;
  return mixed(entry.lock ^ mixed((older << 32 | entry.last) + rule));
}

ContentionModel::Context& ContentionModel::context(const Entry& entry, Rule rule) {
  return contexts_[context_hash(entry, rule) & (contexts_.size() - 1)];
}

ContentionModel::Predictions ContentionModel::predict(const Entry& entry) {
  Predictions all;
  all[kLast] = {entry.last, entry.last_counter, entry.last == entry.home};
  all[kHome] = {entry.home, entry.home_counter, entry.last == entry.home};
  for (const Rule rule : {kAfter1, kAfter2}) {
    const Context& found = context(entry, rule);
    const auto tag = static_cast<std::uint16_t>(context_hash(entry, rule) >> 48);
    if (found.next == kNobody || found.tag != tag) continue;
    all[rule] = {found.next, found.counter, found.next == entry.home};
  }
  return all;
}

Calibration& ContentionModel::calibration(Rule rule, const Prediction& prediction) {
  return calibrations_[rule][prediction.counter + (prediction.agrees ? kCounterMax + 1U : 0U)];
}

Nanoseconds ContentionModel::term_of(const Entry& entry) const {
  const double center = entry.gap_log2 != 0.0F ? entry.gap_log2 : gap_log2_;
  if (center == 0.0) return options_.term_max_ns;
  // The first gaps to be seen are the short ones.
  const double unknown = spread_total_ < kSpreadKnown ? kOctavesUnknown : 0.0;
  const double term = std::exp2(std::min(center + spread_octaves_ + unknown, 60.0));
  return std::clamp(static_cast<Nanoseconds>(term), options_.term_min_ns, options_.term_max_ns);
}

void ContentionModel::asked(std::uint64_t lock, std::uint32_t client, Nanoseconds now_ns) {
  Entry* entry = find_or_admit(lock);
  if (entry == nullptr) return;
  if (entry->freed_ns != kLongAgo) judge(*entry, client, now_ns - entry->freed_ns);
  learn_history(*entry, client, now_ns);
}

void ContentionModel::used(std::uint64_t lock, std::uint32_t client, Nanoseconds gap_ns,
                           Nanoseconds now_ns) {
  acted_.add(Outcome::kHit);
  Entry* entry = find_or_admit(lock);
  if (entry == nullptr) return;
  judge(*entry, client, gap_ns);
  learn_history(*entry, client, now_ns);
}

// The best of several estimates is too good on average: what was acted on says by how much.
double ContentionModel::hit_wanted(double hit_min) const {
  if (acted_.total() < kActedKnown) return hit_min;
  const double seen = static_cast<double>(acted_.count(Outcome::kHit)) / acted_.total();
  // No more than this: what is never done cannot show that it would do well again.
  return hit_min + std::clamp(hit_min - seen, 0.0, kRaiseMax);
}

// What each rule said when the lock became free, against who came. Nothing that the rules look at
// has changed in between.
void ContentionModel::judge(Entry& entry, std::uint32_t client, Nanoseconds gap_ns) {
  if (entry.last == kNobody) return;
  const Nanoseconds term_ns = term_of(entry);
  const Predictions all = predict(entry);
  double best = -1.0;
  bool best_right = false;
  bool any_right = false;
  for (const Rule rule : {kLast, kHome, kAfter1, kAfter2}) {
    const Prediction& prediction = all[rule];
    if (prediction.client == kNobody) continue;
    const bool right = prediction.client == client;
    Calibration& cell = calibration(rule, prediction);
    if (cell.hit() > best) {
      best = cell.hit();
      best_right = right;
    }
    any_right = any_right || right;
    const Outcome outcome = gap_ns > term_ns ? Outcome::kIdle
                            : right          ? Outcome::kHit
                                             : Outcome::kForeign;
    cell.add(outcome);
  }
  const auto note = [client](std::uint8_t& counter, std::uint32_t predicted) {
    if (predicted != client) {
      counter /= 2;
    } else if (counter < kCounterMax) {
      ++counter;
    }
  };
  note(entry.last_counter, entry.last);
  note(entry.home_counter, entry.home);
  ++counts_.judged;
  if (best_right) ++counts_.right;
  if (any_right) learn_gap(entry, gap_ns);
}

void ContentionModel::learn_gap(Entry& entry, Nanoseconds gap_ns) {
  const double log2_gap = std::log2(static_cast<double>(std::max<Nanoseconds>(gap_ns, 1)) + 1.0);
  if (entry.gap_log2 != 0.0F) {
    const double off = log2_gap - entry.gap_log2 + kSpreadBuckets / (2.0 * kSpreadPerOctave);
    const int bucket = std::clamp(static_cast<int>(off * kSpreadPerOctave), 0, kSpreadBuckets - 1);
    ++spread_counts_[static_cast<std::size_t>(bucket)];
    ++spread_total_;
  }
  learn_mean(entry.gap_log2, log2_gap);
  gap_log2_ = gap_log2_ == 0.0 ? log2_gap : gap_log2_ + 0.02 * (log2_gap - gap_log2_);
  if (spread_total_ == 0 || spread_total_ % kSpreadEvery != 0) return;
  if (spread_total_ >= kSpreadForgetAt) {
    spread_total_ = 0;
    for (std::uint32_t& count : spread_counts_) spread_total_ += count /= 2;
  }
  std::uint32_t above = 0;
  int bucket = kSpreadBuckets;
  while (bucket > 0 && above <= (1.0 - kTermCovers) * spread_total_) {
    above += spread_counts_[static_cast<std::size_t>(--bucket)];
  }
  spread_octaves_ = (bucket + 1.0) / kSpreadPerOctave - kSpreadBuckets / (2.0 * kSpreadPerOctave);
}

void ContentionModel::learn_history(Entry& entry, std::uint32_t client, Nanoseconds now_ns) {
  if (entry.last != kNobody) {
    learn_context(entry, kAfter1, client);
    if (entry.before_last != kNobody) learn_context(entry, kAfter2, client);
  }
  if (entry.home == client) {
    if (entry.votes < kVotesMax) ++entry.votes;
  } else if (entry.votes == 0) {
    entry.home = client;
    entry.votes = 1;
    entry.home_counter = 0;
  } else {
    --entry.votes;
  }
  if (entry.asked_ns != kLongAgo) {
    learn_mean(entry.pace_ns, static_cast<double>(now_ns - entry.asked_ns));
  }
  entry.asked_ns = now_ns;
  entry.before_last = entry.last;
  entry.last = client;
  entry.freed_ns = kLongAgo;
}

void ContentionModel::learn_context(const Entry& entry, Rule rule, std::uint32_t client) {
  Context& found = context(entry, rule);
  const auto tag = static_cast<std::uint16_t>(context_hash(entry, rule) >> 48);
  if (found.next == kNobody || found.tag != tag) {
    if (found.next != kNobody && found.counter > 0) {  // another context's, of some use to it
      --found.counter;
      return;
    }
    found = {tag, 0, client};
  } else if (found.next == client) {
    if (found.counter < kCounterMax) ++found.counter;
  } else if (found.counter == 0) {
    found.next = client;
  } else {
    found.counter /= 2;
  }
}

void ContentionModel::released(std::uint64_t lock, Nanoseconds held_ns) {
  Entry* entry = find(lock);
  if (entry == nullptr) return;
  if (entry->holds < kHoldsAveraged) ++entry->holds;
  learn_mean(entry->hold_ns, static_cast<double>(held_ns), 1.0F / entry->holds);
}

ContentionModel::Advance ContentionModel::freed(std::uint64_t lock, Nanoseconds now_ns,
                                                double hit_min) {
  Advance advance;
  Entry* entry = find(lock);
  if (entry == nullptr) return advance;
  entry->freed_ns = now_ns;
  if (entry->last == kNobody) return advance;
  const Predictions all = predict(*entry);
  double foreign = 1.0;
  for (const Rule rule : {kLast, kHome, kAfter1, kAfter2}) {
    if (all[rule].client == kNobody) continue;
    const Calibration& cell = calibration(rule, all[rule]);
    if (cell.hit() <= advance.hit) continue;
    advance.hit = cell.hit();
    advance.client = all[rule].client;
    foreign = cell.foreign();
  }
  const auto round_trip = static_cast<double>(round_trip_ns_);
  if (advance.hit < hit_wanted(hit_min > 0.0 ? hit_min : options_.hit_min)) {
    ++counts_.low_hit;
    advance.client = kNobody;
  } else if (advance.hit * round_trip <=
             foreign * round_trip + static_cast<double>(options_.push_cost_ns)) {
    ++counts_.no_gain;
    advance.client = kNobody;
  } else if (foreign > guard_.foreign_max(round_trip_ns_)) {
    ++counts_.tail;
    advance.client = kNobody;
  } else {
    ++counts_.advised;
    advance.term_ns = term_of(*entry);
  }
  return advance;
}

void ContentionModel::learn_round_trip(Nanoseconds round_trip_ns) {
  round_trip_ns_ += (std::max<Nanoseconds>(round_trip_ns, 1) - round_trip_ns_) / 8;
}

// Those ahead take a mean hold each. The one who holds it now takes the rest of its own, which
// depends on how holds are spread: it is measured, by how much of the mean has passed.
Nanoseconds ContentionModel::forecast_wait(std::uint64_t lock, std::uint32_t ahead,
                                           Nanoseconds elapsed_ns) const {
  const Entry* entry = find(lock);
  if (entry == nullptr || entry->hold_ns == 0.0F) return 0;
  const double hold = entry->hold_ns;
  const float rest = rests_[elapsed_class(hold, elapsed_ns)];
  return static_cast<Nanoseconds>((static_cast<double>(rest) + ahead) * hold);
}

void ContentionModel::waited(std::uint64_t lock, Nanoseconds elapsed_ns, Nanoseconds wait_ns) {
  const Entry* entry = find(lock);
  if (entry == nullptr || entry->hold_ns == 0.0F) return;
  float& rest = rests_[elapsed_class(entry->hold_ns, elapsed_ns)];
  rest += 0.01F * (std::min(static_cast<float>(wait_ns) / entry->hold_ns, 8.0F) - rest);
}

// Little's law, with the requests a lock is asked for while it is held once.
double ContentionModel::forecast_queue(std::uint64_t lock) const {
  const Entry* entry = find(lock);
  if (entry == nullptr || entry->pace_ns <= 0.0F) return 0.0;
  return entry->hold_ns / entry->pace_ns;
}

}  // namespace driftlock
