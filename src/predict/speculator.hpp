// Speculator: between the engine and the contention model: tells the model what happens to locks,
// has the engine grant in advance what the model advises, and forecasts waits. Part of the fast
// path's observer: owned by its lcore; allocates nothing after construction; its figures may be
// read by any thread.
#pragma once

#include <array>
#include <atomic>
#include <memory_resource>

#include "src/base/counter.hpp"
#include "src/lock/engine.hpp"
#include "src/predict/contention.hpp"

namespace driftlock {

class Speculator {
 public:
  // writer: the lcore; readers: metrics and status.
  struct Figures {
    Counter judged;             // requests for free locks that some rule had a name for
    Counter right;              // of these, by the best rule
    Counter advised;            // grants in advance that the model was for
    Counter made;               // of these, made: only where they are acted on
    Counter held_back_hit;      // not advised: the chance of a hit is too low
    Counter held_back_gain;     // not advised: the cost is above the saving
    Counter held_back_tail;     // not advised: the tail would not bear a call-back
    Counter forecasts;          // waits that were forecast, and are over
    Counter forecast_sum_us;    // of the forecasts
    Counter forecast_error_us;  // sum of what they were wrong by
    Counter waited_sum_us;      // sum of the waits themselves
    Counter round_trip_us;      // of a call-back, mean
  };

  Speculator(const ContentionOptions& options, bool acts, std::pmr::memory_resource* memory)
      : model_(options, memory), acts_(acts) {}

  // After a turn of the engine's.
  void turn(Engine& engine, const ClockReading& now);
  // For a request that was answered `queued`, `ahead` before it; us, 0: not known.
  [[nodiscard]] std::uint32_t forecast_us(const Engine& engine, std::uint64_t key_hash,
                                          std::uint32_t session, std::uint8_t slot,
                                          std::uint32_t ahead, const ClockReading& now);

  // False: the model learns and advises, and nothing is granted in advance. Any thread.
  void set_acting(bool acts) { acts_.store(acts, std::memory_order_relaxed); }
  [[nodiscard]] bool acting() const { return acts_.load(std::memory_order_relaxed); }
  [[nodiscard]] const Figures& figures() const { return figures_; }
  [[nodiscard]] const ContentionModel& model() const { return model_; }

 private:
  struct Forecast {
    std::uint64_t key_hash = 0;
    std::uint32_t session = 0;
    std::uint32_t ahead = 0;
    Nanoseconds elapsed_ns = 0;
    Nanoseconds forecast_ns = 0;
  };
  static constexpr std::size_t kForecasts = 4096;  // remembered until their wait is over
  static constexpr Nanoseconds kRoundTripMax = 50 * kMillisecond;

  void learn(Engine& engine, const LockEvent& event, const ClockReading& now);
  void granted(const LockEvent& event);
  void freed(Engine& engine, const LockEvent& event, const ClockReading& now);
  [[nodiscard]] Forecast& place_of(std::uint64_t key_hash, std::uint32_t session) {
    return forecasts_[(key_hash ^ session * 0x9E3779B97F4A7C15U) >> 20 & (kForecasts - 1)];
  }

  ContentionModel model_;
  std::array<Forecast, kForecasts> forecasts_{};
  Figures figures_;
  std::atomic<bool> acts_;
};

}  // namespace driftlock
