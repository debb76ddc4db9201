// ContentionModel: who asks next for which lock, when, and for how long it will be held; and
// whether a lock that has become free is worth granting in advance. Owned by one thread (the lcore
// in a node); all memory is laid out at construction, nothing is allocated after; pure.
//
// Per lock: the last two who asked, who asks mostly (majority vote), means of gap, hold and pace.
// Four rules each name who asks next:
//   last     who asked last           home     who asks mostly
//   after1   who last followed the last one        after2   who last followed the last two
// (after1 and after2 are contexts in a shared hashed table, as in a branch predictor: D. Jimenez,
// A. Seznec.) Each rule's record on this lock is a counter of 0 to 15: right adds one, wrong halves
// it. What a counter is worth is measured over all locks (Calibration), so that a workload without
// affinity is recognized at once, and a new lock in one with affinity needs a few requests only.
//
// The decision, for a lock without waiters that was just released: the rule with the best measured
// chance of a hit; speculate if that is at least hit_min (and as much more as the grants made in
// advance have fallen short of it so far), if
//   hit x saving > foreign x recall + push_cost      (saving and recall: a round trip each)
// and if the tail of latencies bears the chance of a call-back (TailGuard). Whatever stops paying
// turns itself off by these, per lock and for all.
#pragma once

#include <array>
#include <cstdint>
#include <memory_resource>
#include <vector>

#include "src/base/time.hpp"
#include "src/predict/calibration.hpp"
#include "src/predict/tail_guard.hpp"

namespace driftlock {

struct ContentionOptions {
  std::uint32_t locks_max = 1U << 16;     // remembered; a power of two
  std::uint32_t contexts_max = 1U << 17;  // a power of two
  double hit_min = 0.905;                 // least chance of a hit
  double tail = 0.01;                     // the quantile of latency to leave as it is: 0.01 = p99
  Nanoseconds round_trip_ns = 100 * kMicrosecond;  // to begin with
  Nanoseconds push_cost_ns = 2 * kMicrosecond;     // of a grant in advance, to node and client
  Nanoseconds term_min_ns = kMillisecond;
  Nanoseconds term_max_ns = 10 * kSecond;
};

class ContentionModel {
 public:
  static constexpr std::uint32_t kNobody = 0xFFFFFFFF;
  static constexpr std::size_t kElapsedClasses = 16;

  struct Advance {
    std::uint32_t client = kNobody;  // kNobody: do not grant in advance
    Nanoseconds term_ns = 0;         // how long it should stay with the client unused
    double hit = 0.0;                // the chance of a hit
  };
  struct Counts {
    std::uint64_t judged = 0;   // requests for free locks that some rule had a name for
    std::uint64_t right = 0;    // of these, by the best rule
    std::uint64_t advised = 0;  // grants in advance advised
    std::uint64_t low_hit = 0;  // not advised: chance of a hit too low
    std::uint64_t no_gain = 0;  // not advised: cost above saving
    std::uint64_t tail = 0;     // not advised: the tail would not bear a call-back
  };

  ContentionModel(const ContentionOptions& options, std::pmr::memory_resource* memory);

  // Client `client` has asked for the lock: a fresh request, not a repeat.
  void asked(std::uint64_t lock, std::uint32_t client, Nanoseconds now_ns);
  // A grant in advance was used by its client, `gap_ns` after the release it followed, plus a round
  // trip: when its request would have come in.
  void used(std::uint64_t lock, std::uint32_t client, Nanoseconds gap_ns, Nanoseconds now_ns);
  // A grant in advance was given back unused.
  void wasted() { acted_.add(Outcome::kForeign); }
  // The lock was given back; `held_ns` since its grant, as the node saw it.
  void released(std::uint64_t lock, Nanoseconds held_ns);
  // Nobody has it, and nobody waits: who should have it?
  // With another least chance of a hit than the options', where it is not 0.
  [[nodiscard]] Advance freed(std::uint64_t lock, Nanoseconds now_ns, double hit_min = 0.0);
  // A request was granted; see TailGuard.
  void granted(Nanoseconds wait_ns, Nanoseconds recall_ns) { guard_.granted(wait_ns, recall_ns); }
  void learn_round_trip(Nanoseconds round_trip_ns);
  [[nodiscard]] Nanoseconds round_trip_ns() const { return round_trip_ns_; }

  // How long a request will wait that finds `ahead` before it in the queue and the lock held for
  // `elapsed_ns` so far. 0: not known.
  [[nodiscard]] Nanoseconds forecast_wait(std::uint64_t lock, std::uint32_t ahead,
                                          Nanoseconds elapsed_ns) const;
  // A request waited that had found nobody before it and the lock held for `elapsed_ns`.
  void waited(std::uint64_t lock, Nanoseconds elapsed_ns, Nanoseconds wait_ns);
  // How many are expected to wait at the same time, by pace and hold: 0 where nothing is known.
  [[nodiscard]] double forecast_queue(std::uint64_t lock) const;

  [[nodiscard]] const Counts& counts() const { return counts_; }
  [[nodiscard]] const TailGuard& guard() const { return guard_; }

 private:
  enum Rule : std::uint8_t { kLast, kHome, kAfter1, kAfter2 };
  static constexpr std::size_t kRules = 4;
  static constexpr std::uint8_t kCounterMax = 15;
  static constexpr std::size_t kWays = 8;

  struct Entry {
    std::uint64_t lock = 0;  // 0: vacant
    std::uint32_t last = kNobody;
    std::uint32_t before_last = kNobody;
    std::uint32_t home = kNobody;
    float hold_ns = 0.0F;             // mean; 0: none yet
    float pace_ns = 0.0F;             // mean between requests
    float gap_log2 = 0.0F;            // mean log2 of the gap, of predicted clients; 0: none yet
    Nanoseconds asked_ns = kLongAgo;  // the last request
    Nanoseconds freed_ns = kLongAgo;  // kLongAgo: not free, or unknown since when
    std::uint8_t votes = 0;           // for home
    std::uint8_t last_counter = 0;
    std::uint8_t home_counter = 0;
    std::uint8_t weight = 0;  // for its place in the table
    std::uint8_t holds = 0;   // that hold_ns is the mean of
  };
  static_assert(sizeof(Entry) <= 64);
  struct Context {
    std::uint16_t tag = 0;
    std::uint8_t counter = 0;
    std::uint32_t next = kNobody;
  };
  struct Prediction {
    std::uint32_t client = kNobody;
    std::uint8_t counter = 0;
    bool agrees = false;  // with the rule `home`; of home itself: with `last`
  };
  using Predictions = std::array<Prediction, kRules>;

  [[nodiscard]] Entry* find(std::uint64_t lock);
  [[nodiscard]] const Entry* find(std::uint64_t lock) const;
  [[nodiscard]] Entry* find_or_admit(std::uint64_t lock);
  [[nodiscard]] Context& context(const Entry& entry, Rule rule);
  [[nodiscard]] static std::uint64_t context_hash(const Entry& entry, Rule rule);
  [[nodiscard]] Predictions predict(const Entry& entry);
  [[nodiscard]] Calibration& calibration(Rule rule, const Prediction& prediction);
  [[nodiscard]] Nanoseconds term_of(const Entry& entry) const;
  [[nodiscard]] double hit_wanted(double hit_min) const;
  void judge(Entry& entry, std::uint32_t client, Nanoseconds gap_ns);
  void learn_gap(Entry& entry, Nanoseconds gap_ns);
  void learn_history(Entry& entry, std::uint32_t client, Nanoseconds now_ns);
  void learn_context(const Entry& entry, Rule rule, std::uint32_t client);

  // How far gaps lie from their lock's mean, in octaves: what a term must cover.
  static constexpr int kSpreadPerOctave = 4;
  static constexpr int kSpreadBuckets = 20 * kSpreadPerOctave;
  static constexpr double kTermCovers = 0.985;  // of the gaps

  ContentionOptions options_;
  std::pmr::vector<Entry> entries_;
  std::pmr::vector<Context> contexts_;
  std::array<std::array<Calibration, std::size_t{2} * (kCounterMax + 1)>, kRules> calibrations_;
  Calibration acted_;  // what became of the grants made in advance
  TailGuard guard_;
  std::array<std::uint32_t, kSpreadBuckets> spread_counts_{};
  std::uint32_t spread_total_ = 0;
  double spread_octaves_ = 3.0;                 // quantile kTermCovers of the spread
  double gap_log2_ = 0.0;                       // mean over all locks
  std::array<float, kElapsedClasses> rests_{};  // of a hold, in mean holds, by elapsed_class
  Nanoseconds round_trip_ns_;
  Counts counts_;
};

}  // namespace driftlock
