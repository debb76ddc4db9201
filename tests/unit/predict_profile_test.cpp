#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "src/predict/predictor.hpp"
#include "src/predict/profile.hpp"

namespace driftlock {
namespace {

constexpr std::uint64_t kSession = 0x51;

Activity acquire_at(Nanoseconds tai_ns, std::uint64_t key = 7) {
  Activity activity;
  activity.session_id = kSession;
  activity.client_id = 9;
  activity.key_hash = key;
  activity.op = wire::Op::kAcquire;
  activity.received_tai_ns = tai_ns;
  activity.waited_ns = 2'000;
  activity.transit_ns = 50'000;
  return activity;
}

// A client that asks every `gap_ns`, give or take a fifth.
Nanoseconds run(ProfileRecorder& recorder, Nanoseconds from_ns, Nanoseconds gap_ns, int times,
                std::uint32_t index = 0, std::uint64_t session = kSession) {
  std::mt19937 random(42);
  std::uniform_real_distribution<double> jitter(0.8, 1.2);
  for (int i = 0; i < times; ++i) {
    Activity activity = acquire_at(from_ns, 1 + random() % 10);
    activity.session_index = index;
    activity.session_id = session;
    activity.op = i % 2 == 0 ? wire::Op::kAcquire : wire::Op::kRelease;
    activity.transit_ns += static_cast<Nanoseconds>(random() % 10'000);
    recorder.observe(activity);
    from_ns += static_cast<Nanoseconds>(jitter(random) * static_cast<double>(gap_ns));
  }
  return from_ns;
}

ClientProfile copy_of(const ProfileTable& table, std::size_t index) {
  ClientProfile result;
  bool found = false;
  std::unique_ptr<ClientProfile> held;
  found = table.read(
      index, [&](const ClientProfile& copy) { held = std::make_unique<ClientProfile>(copy); });
  EXPECT_TRUE(found);
  return found ? ClientProfile(*held) : ClientProfile(result);
}

TEST(Profile, KeepsPaceMixAndHoldings) {
  ProfileTable table(4);
  ProfileRecorder recorder(table);
  run(recorder, 1'000'000'000, kMillisecond, 500);
  const ClientProfile profile = copy_of(table, 0);
  EXPECT_EQ(profile.operations.get(), 500U);
  EXPECT_EQ(profile.holding.get(), 0);
  EXPECT_NEAR(profile.gap.usual, rough_log2(kMillisecond), 0.15);
  EXPECT_LT(profile.mix.shift(), 0.05F);
  EXPECT_GT(profile.access.windows.get(), 5U);
  EXPECT_LT(profile.access.change.usual, 0.2F);  // the same ten locks
  EXPECT_FALSE(table.read(1, [](const ClientProfile&) {}));
}

TEST(Profile, OperationsOfOneDatagramHaveOneGap) {
  ProfileTable table(1);
  ProfileRecorder recorder(table);
  for (int datagram = 0; datagram < 3; ++datagram) {
    for (int op = 0; op < 5; ++op) recorder.observe(acquire_at(1000 + datagram * 500));
  }
  const ClientProfile profile = copy_of(table, 0);
  EXPECT_EQ(profile.operations.get(), 15U);
  EXPECT_EQ(profile.gap.samples.get(), 2U);
  EXPECT_EQ(profile.waited.samples.get(), 3U);
}

TEST(Profile, ForgetsOnNewSessionAndOnClose) {
  ProfileTable table(1);
  ProfileRecorder recorder(table);
  run(recorder, 1'000'000, kMillisecond, 100);
  Activity next = acquire_at(900'000'000);
  next.session_id = kSession + 1;
  recorder.observe(next);
  EXPECT_EQ(copy_of(table, 0).operations.get(), 1U);
  EXPECT_EQ(copy_of(table, 0).gap.samples.get(), 0U);
  next.op = wire::Op::kClose;
  recorder.observe(next);
  EXPECT_FALSE(table.read(0, [](const ClientProfile&) {}));
}

TEST(Profile, ReportsOfASlowPathAreStrangeAndForgottenWithTheSession) {
  ProfileTable table(1);
  ProfileRecorder recorder(table);
  PathReport report{.session_index = 0, .session_id = kSession, .requests = 100, .replies = 100};
  recorder.observe_path(report);  // nobody is there yet
  const Nanoseconds now = run(recorder, 1'000'000'000, kMillisecond, 300);
  for (int i = 0; i < 200; ++i) {
    report.p50_ns = 80'000 + 100 * (i % 7);
    report.p99_ns = 130'000 + 1000 * (i % 5);
    recorder.observe_path(report);
  }
  const auto latency = [&] {
    return features_of(copy_of(table, 0), nullptr,
                       now)[static_cast<std::size_t>(Feature::kProbeLatency)];
  };
  EXPECT_LT(latency(), 2.0F);
  report.p50_ns = report.p99_ns = 4 * kMillisecond;
  report.replies = 40;
  for (int i = 0; i < 8; ++i) recorder.observe_path(report);
  EXPECT_GT(latency(), 3.0F);
  EXPECT_GT(features_of(copy_of(table, 0), nullptr,
                        now)[static_cast<std::size_t>(Feature::kProbeUnanswered)],
            2.0F);
  report.session_id = kSession + 1;  // somebody else's: not mixed in
  recorder.observe_path(report);
  EXPECT_EQ(copy_of(table, 0).path_p50.samples, 208U);
  run(recorder, now, kMillisecond, 1, 0, kSession + 1);
  EXPECT_EQ(copy_of(table, 0).path_p50.samples, 0U);
}

TEST(Profile, AccessSketchSeesOtherLocks) {
  AccessSketch sketch;
  std::mt19937_64 random(1);
  for (int i = 0; i < 640; ++i) sketch.add((random() % 16 + 1) * 0x1234567);
  const float same = sketch.change.recent;
  for (int i = 0; i < 64; ++i) sketch.add((random() % 16 + 1000) * 0x1234567);
  EXPECT_LT(same, 0.2F);
  EXPECT_GT(sketch.change.recent, same + 0.05F);
}

TEST(Profile, ReaderSeesWholeUpdatesOnly) {
  ProfileTable table(1);
  std::atomic<bool> stop{false};
  ProfileRecorder recorder(table);
  recorder.observe(acquire_at(0));
  std::thread reader([&] {
    while (!stop) {
      // first_tai_ns and last_tai_ns are set together by each new session below.
      table.read(0, [](const ClientProfile& copy) {
        EXPECT_EQ(copy.first_tai_ns.get(), copy.last_tai_ns.get());
        EXPECT_EQ(copy.session_id.get(), kSession + static_cast<std::uint64_t>(copy.first_tai_ns));
      });
    }
  });
  for (Nanoseconds i = 0; i < 20'000; ++i) {
    Activity activity = acquire_at(i);
    activity.session_id = kSession + static_cast<std::uint64_t>(i);
    recorder.observe(activity);
  }
  stop = true;
  reader.join();
}

TEST(Score, OrdinaryClientIsNotStrange) {
  ProfileTable table(1);
  ProfileRecorder recorder(table);
  const Nanoseconds end = run(recorder, kSecond, kMillisecond, 2000);
  const ClientProfile profile = copy_of(table, 0);
  const ClientScore score = score_of(profile, features_of(profile, nullptr, end));
  EXPECT_FALSE(score.warming);
  EXPECT_LT(score.score, 0.1F);
}

TEST(Score, SilenceAndSlownessAreStrangeAndExplained) {
  ProfileTable table(1);
  ProfileRecorder recorder(table);
  Nanoseconds end = run(recorder, kSecond, kMillisecond, 2000);
  ClientProfile profile = copy_of(table, 0);
  ClientScore score = score_of(profile, features_of(profile, nullptr, end + 100 * kMillisecond));
  EXPECT_GT(score.score, 0.9F);
  EXPECT_EQ(score.cause, Feature::kSilence);

  PathHistory path;
  PathLatency step{kSession, 100, 100, 100e3, 300e3};
  for (int i = 0; i < 300; ++i) path.add(step);
  EXPECT_LT(score_of(profile, features_of(profile, &path, end)).score, 0.1F);
  step.p50_ns = 4e6;
  for (int i = 0; i < 16; ++i) path.add(step);
  score = score_of(profile, features_of(profile, &path, end));
  EXPECT_GT(score.score, 0.5F);
  EXPECT_EQ(score.cause, Feature::kProbeLatency);
}

TEST(Score, SaysNothingWhileWarmingUp) {
  ProfileTable table(1);
  ProfileRecorder recorder(table);
  run(recorder, kSecond, kMillisecond, kWarmUpOperations - 1);
  const ClientProfile profile = copy_of(table, 0);
  const ClientScore score = score_of(profile, features_of(profile, nullptr, 100 * kSecond));
  EXPECT_TRUE(score.warming);
  EXPECT_EQ(score.score, 0.0F);
}

TEST(Predictor, CountsSuspectsAndSuspectsItself) {
  constexpr std::uint32_t kClients = 20;
  ProfileTable table(32);
  ProfileRecorder recorder(table);
  Nanoseconds end = 0;
  for (std::uint32_t i = 0; i < kClients; ++i) {
    end = run(recorder, kSecond, kMillisecond, 300, i, kSession + i);
  }
  Predictor predictor({&table}, {});
  const std::vector<PathLatency> paths = {{kSession, 10, 10, 1e5, 2e5}, {12345, 1, 1, 1e5, 1e5}};
  const PredictorSummary& summary = predictor.step(end, paths);
  EXPECT_EQ(summary.profiles, kClients);
  EXPECT_EQ(summary.suspects, 0U);
  EXPECT_EQ(summary.with_path, 1U);
  EXPECT_FALSE(summary.self_suspect);
  EXPECT_EQ(predictor.scores().size(), kClients);

  // One goes silent while the others carry on.
  Nanoseconds later = end;
  for (std::uint32_t i = 1; i < kClients; ++i) {
    later = run(recorder, end, kMillisecond, 100, i, kSession + i);
  }
  EXPECT_EQ(predictor.step(later, {}).suspects, 1U);
  EXPECT_EQ(predictor.summary().causes[static_cast<std::size_t>(Feature::kSilence)], 1U);
  EXPECT_FALSE(predictor.summary().self_suspect);
  // All go silent at once: it is more likely that we are deaf.
  EXPECT_TRUE(predictor.step(later + kSecond, {}).self_suspect);
  // Gone for good.
  EXPECT_EQ(predictor.step(later + 3600 * kSecond, {}).profiles, 0U);
}

}  // namespace
}  // namespace driftlock
