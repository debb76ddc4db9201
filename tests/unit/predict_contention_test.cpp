#include <gtest/gtest.h>

#include "src/predict/contention.hpp"
#include "src/predict/contention_replay.hpp"

namespace driftlock {
namespace {

TraceOptions trace_of(TraceKind kind, double affinity, std::uint64_t seed) {
  TraceOptions options;
  options.kind = kind;
  options.affinity = affinity;
  options.seed = seed;
  options.requests = 60'000;
  return options;
}

struct Pair {
  ReplayResult off;
  ReplayResult ours;
};

Pair replay(const std::vector<TraceRequest>& trace) {
  return {replay_contention(trace, SpeculationPolicy::kNone, {}),
          replay_contention(trace, SpeculationPolicy::kOurs, {})};
}

class EveryTrace : public testing::TestWithParam<std::tuple<TraceKind, std::uint64_t>> {};

TEST_P(EveryTrace, WithAffinityGrantsInAdvancePay) {
  const auto [kind, seed] = GetParam();
  const auto [off, ours] = replay(generate_trace(trace_of(kind, 0.98, seed)));
  const auto made = static_cast<double>(ours.speculated - ours.open);
  EXPECT_GE(static_cast<double>(ours.hits) / made, 0.9);
  EXPECT_LE(static_cast<double>(ours.wasted) / made, 0.1);
  EXPECT_LE(ours.latency_mean_ns, 0.7 * off.latency_mean_ns);
  EXPECT_LE(ours.latency_p99_ns, off.latency_p99_ns);
}

TEST_P(EveryTrace, WithoutAffinityNothingIsDone) {
  const auto [kind, seed] = GetParam();
  const auto [off, ours] = replay(generate_trace(trace_of(kind, 0.0, seed)));
  EXPECT_LT(static_cast<double>(ours.speculated), 0.01 * static_cast<double>(ours.grants));
  EXPECT_LE(ours.latency_p99_ns, 1.02 * off.latency_p99_ns);
}

INSTANTIATE_TEST_SUITE_P(Contention, EveryTrace,
                         testing::Combine(testing::Values(TraceKind::kZipf, TraceKind::kTpcc,
                                                          TraceKind::kSmallBank),
                                          testing::Values(1, 7)));

TEST(Contention, ATailThatWouldShowACallBackIsSpared) {
  TraceOptions options = trace_of(TraceKind::kZipf, 0.97, 3);
  options.load = 0.01;  // nobody waits: p99 is one round trip
  const auto [off, ours] = replay(generate_trace(options));
  EXPECT_GT(ours.hits, 0U);
  EXPECT_LE(ours.latency_p99_ns, off.latency_p99_ns);
}

TEST(Contention, AffinityThatEndsIsNoticed) {
  std::vector<TraceRequest> trace = generate_trace(trace_of(TraceKind::kZipf, 0.98, 1));
  std::vector<TraceRequest> later = generate_trace(trace_of(TraceKind::kZipf, 0.0, 2));
  const std::size_t affine = trace.size();
  const Nanoseconds shift_ns = trace.back().time_ns;
  for (TraceRequest& request : later) {
    request.time_ns += shift_ns;
    trace.push_back(request);
  }
  const ReplayResult first =
      replay_contention({trace.data(), affine}, SpeculationPolicy::kOurs, {});
  const ReplayResult all = replay_contention(trace, SpeculationPolicy::kOurs, {});
  EXPECT_LT(static_cast<double>(all.speculated - first.speculated), 0.05 * 60'000);
}

// Round robin: no lock comes back to who had it last, yet the next is always known.
TEST(Contention, TurnsAreLearnt) {
  std::vector<TraceRequest> trace;
  for (std::uint32_t i = 0; i < 5000; ++i) {
    trace.push_back({Nanoseconds{i} * kMillisecond, i % 5, 1, 100 * kMicrosecond});
  }
  const ReplayResult ours = replay_contention(trace, SpeculationPolicy::kOurs, {});
  EXPECT_GT(ours.hits, 4500U);
  EXPECT_LT(ours.wasted, 5U);
}

TEST(Contention, TheForecastOfEqualHoldsIsRight) {
  ContentionModel model({}, std::pmr::new_delete_resource());
  constexpr Nanoseconds kHold = kMillisecond;
  EXPECT_EQ(model.forecast_wait(7, 0, 0), 0);
  for (int i = 0; i < 2000; ++i) {
    model.asked(7, 1, Nanoseconds{i} * 2 * kMillisecond);
    model.released(7, kHold);
    model.waited(7, kHold / 2, kHold / 2);
  }
  EXPECT_NEAR(static_cast<double>(model.forecast_wait(7, 0, kHold / 2)), kHold / 2, kHold / 20);
  EXPECT_NEAR(static_cast<double>(model.forecast_wait(7, 3, kHold / 2)), 3.5 * kHold, kHold / 5);
  EXPECT_NEAR(model.forecast_queue(7), 0.5, 0.05);
}

TEST(Contention, AStreamOfLocksDoesNotPushOutTheBusyOnes) {
  ContentionOptions options;
  options.locks_max = 64;
  ContentionModel model(options, std::pmr::new_delete_resource());
  for (int i = 0; i < 100; ++i) {
    model.asked(1, 1, i);
    model.released(1, kMillisecond);
  }
  for (std::uint64_t lock = 2; lock < 10'000; ++lock) {
    model.asked(lock, 2, 1000);
    if (lock % 20 == 0) model.asked(1, 1, 1000);
  }
  EXPECT_GT(model.forecast_wait(1, 0, 0), 0);
}

TEST(Contention, TheSameSeedGivesTheSameTrace) {
  const auto a = generate_trace(trace_of(TraceKind::kTpcc, 0.9, 5));
  const auto b = generate_trace(trace_of(TraceKind::kTpcc, 0.9, 5));
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].time_ns, b[i].time_ns);
    EXPECT_EQ(a[i].lock, b[i].lock);
  }
}

}  // namespace
}  // namespace driftlock
