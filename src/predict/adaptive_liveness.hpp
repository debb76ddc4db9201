// AdaptiveLiveness: from the arrivals of one client, how long a silence an ordinary one keeps.
// Owned by the predictor thread; some 160 bytes, so that every session has one. Time is an
// argument.
//
// An arrival is compared with a plan of arrivals: residual = arrival - planned. The plan follows
// each arrival wholly (a sender that counts from its last sending) or slowly (one with a schedule,
// whose delays then average out), whichever has lately been closer. A gap that is nearly a multiple
// of the period is explained by losses: it teaches the loss process (how often, and how often
// again), not the spread, and the plan goes on from it. Silence is judged by
//   P(silent until t) = P(more losses in a row than t has periods) + P(residual beyond),
// the residuals from a histogram of logarithmic bins that forgets (the long window), scaled where
// the last 16 were much wider than usual (the short one), and beyond what was counted by an
// extreme-value tail (A. Dekkers, J. Einmahl, L. de Haan, "A moment estimator for the index of an
// extreme-value distribution", 1989). A floor keeps a scheduler's whim from counting.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "src/base/time.hpp"

namespace driftlock {

class AdaptiveLiveness {
 public:
  AdaptiveLiveness() : AdaptiveLiveness(5 * kMillisecond) {}
  explicit AdaptiveLiveness(Nanoseconds floor_ns)
      : floor_us_(static_cast<float>(floor_ns) / 1e3F) {}

  void arrived(Nanoseconds now_ns);
  // From here on an ordinary client would have been heard of, but for one silence in 1/rate.
  // kNever: too early to say.
  [[nodiscard]] Nanoseconds suspect_at(double rate) const;
  [[nodiscard]] Nanoseconds last_ns() const { return last_ns_; }
  [[nodiscard]] std::uint32_t gaps() const { return gaps_; }
  [[nodiscard]] double period_us() const { return static_cast<double>(period_us_); }
  [[nodiscard]] double loss() const { return static_cast<double>(loss_); }

  static constexpr std::uint32_t kYoungest = 4;  // gaps before anything is said

 private:
  static constexpr std::size_t kBins = 48;            // two to an octave
  static constexpr float kFirstBinUs = 32.0F;         // everything below is in the first
  static constexpr std::uint32_t kRemembered = 4096;  // residuals, before the old ones are halved

  void learn(float gap_us, Nanoseconds now_ns);
  [[nodiscard]] float periods_in(float gap_us) const;
  void learn_period(float each_us);
  void learn_losses(std::uint32_t lost);
  void learn_residual(float residual_us);
  [[nodiscard]] double residual_quantile(double rate) const;
  [[nodiscard]] double tail_quantile(double rate) const;
  struct Borne {
    std::uint32_t losses = 0;
    double chance = 1.0;
  };
  [[nodiscard]] Borne losses_to_bear(double rate) const;
  [[nodiscard]] bool follows_plan() const { return plan_error_us_ < 0.8F * last_error_us_; }

  Nanoseconds last_ns_ = kNever;
  Nanoseconds plan_ns_ = 0;  // of the last arrival, by the slow plan
  float floor_us_;
  float period_us_ = 0.0F;        // mean gap, losses taken out
  float recent_us_ = 0.0F;        // the same over the last 8
  float last_error_us_ = 0.0F;    // mean |residual| against the last arrival
  float plan_error_us_ = 0.0F;    // ... against the slow plan
  float recent_error_us_ = 0.0F;  // of the residuals in use, over the last 16
  float usual_error_us_ = 0.0F;   // ... over the last 512
  float loss_ = 0.0F;             // P(a heartbeat is lost after one that came)
  float loss_again_ = 0.3F;       // P(lost | the one before was lost); at first a belief
  std::uint32_t gaps_ = 0;
  std::uint32_t residuals_ = 0;  // counted in the bins, and early ones
  std::uint16_t losses_ = 0;
  std::uint16_t multiples_ = 0;  // gaps in a row that looked like losses
  std::array<std::uint16_t, kBins> late_{};
};
static_assert(sizeof(AdaptiveLiveness) <= 168);

}  // namespace driftlock
