// driftlock-eval alarms: the false-alarm rate observed against the one asked for, on generated
// traffic of healthy clients, through the same profiles, features and model as in the node.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <memory>
#include <vector>

#include "src/predict/predictor.hpp"
#include "tools/eval/commands.hpp"

namespace driftlock::eval {
namespace {

struct Options {
  unsigned clients = 200;
  unsigned steps = 2500;
  unsigned warm_up = 500;
  std::uint64_t seed = 1;
};

// A healthy client: its own pace, burstiness, locks and path, from log-normal and exponential
// draws.
class HealthyClient {
 public:
  HealthyClient(std::uint32_t index, Random& random)
      : index_(index),
        gap_ns_(2e6 * std::exp(random.normal())),
        burstiness_(0.2 + 0.6 * random.uniform()),
        path_ns_(3e4 * std::exp(0.5 * random.normal())),
        fail_share_(0.1 * random.uniform()),
        first_key_(random.below(1'000'000)) {}

  void drift(double pace, double path) {
    gap_ns_ *= pace;
    path_ns_ *= path;
  }

  // Everything it does until `until_ns`.
  void run(Nanoseconds until_ns, ProfileRecorder& recorder, Random& random) {
    while (next_ns_ < until_ns) {
      Activity activity;
      activity.session_index = index_;
      activity.session_id = index_ + 1;
      activity.client_id = index_ + 1;
      activity.received_tai_ns = next_ns_;
      activity.key_hash = (first_key_ + random.below(8)) * 0x9E3779B97F4A7C15U;
      activity.waited_ns = static_cast<Nanoseconds>(1e3 + 2e3 * random.exponential());
      activity.transit_ns = static_cast<Nanoseconds>(path_ns_ * (1.0 + 0.3 * random.exponential()));
      activity.op = holds_ ? wire::Op::kRelease : wire::Op::kAcquire;
      const bool fails = !holds_ && random.uniform() < fail_share_;
      activity.status = fails ? wire::Status::kBusy : wire::Status::kOk;
      activity.clock_residual_ns = static_cast<Nanoseconds>(500.0 * random.normal());
      activity.behaviour_residual_ns = static_cast<Nanoseconds>(1e5 * random.normal());
      if (!fails) holds_ = !holds_;
      recorder.observe(activity);
      next_ns_ += static_cast<Nanoseconds>(gap_ns_ * std::exp(burstiness_ * random.normal())) + 1;
    }
  }

 private:
  std::uint32_t index_;
  double gap_ns_;
  double burstiness_;
  double path_ns_;
  double fail_share_;
  std::uint64_t first_key_;
  bool holds_ = false;
  Nanoseconds next_ns_ = kSecond;
};

// Of this process alone: a busy machine does not count.
double processor_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return 1e9 * static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec);
}

constexpr double kRates[] = {1e-2, 1e-3, 1e-4};

struct Tally {
  std::uint64_t scored = 0;
  std::uint64_t alarms[3] = {};

  void add(const std::vector<ClientScore>& scores) {
    for (const ClientScore& score : scores) {
      if (score.warming) continue;
      ++scored;
      for (std::size_t i = 0; i < 3; ++i) {
        alarms[i] += static_cast<double>(score.strangeness) >= -std::log(kRates[i]);
      }
    }
  }
  void print(const char* phase) const {
    for (std::size_t i = 0; i < 3; ++i) {
      const double observed = static_cast<double>(alarms[i]) / static_cast<double>(scored);
      std::printf("phase=%s scorings=%llu requested=%.0e observed=%.2e ratio=%.2f\n", phase,
                  static_cast<unsigned long long>(scored), kRates[i], observed,
                  observed / kRates[i]);
    }
  }
};

void run(const Options& options) {
  constexpr Nanoseconds kStep = 50 * kMillisecond;
  Random random(options.seed);
  ProfileTable table(options.clients);
  ProfileRecorder recorder(table);
  PredictorOptions predictor_options;
  predictor_options.seed = options.seed;
  Predictor predictor({&table}, predictor_options);
  std::vector<HealthyClient> clients;
  for (std::uint32_t i = 0; i < options.clients; ++i) clients.emplace_back(i, random);

  Nanoseconds now_ns = kSecond;
  double scoring_ns = 0.0;
  std::uint64_t scorings = 0;
  const auto turn = [&](unsigned steps, Tally* tally) {
    for (unsigned i = 0; i < steps; ++i) {
      now_ns += kStep;
      for (HealthyClient& client : clients) client.run(now_ns, recorder, random);
      const double begin_ns = processor_ns();
      predictor.step(now_ns, {});
      scoring_ns += processor_ns() - begin_ns;
      scorings += predictor.scores().size();
      if (tally != nullptr) tally->add(predictor.scores());
    }
  };
  Tally steady;
  turn(options.warm_up, nullptr);
  turn(options.steps, &steady);
  steady.print("steady");
  // What is normal changes for everybody: twice as slow, on a path three times as long.
  for (HealthyClient& client : clients) client.drift(2.0, 3.0);
  Tally adapting;
  turn(options.warm_up, &adapting);
  adapting.print("adapting");
  Tally drifted;
  turn(options.steps, &drifted);
  drifted.print("drifted");
  std::printf("cost: %.0f ns per client and step, learning included; profile %zu bytes\n",
              scoring_ns / static_cast<double>(scorings), sizeof(ClientProfile));
}

}  // namespace

void add_alarms(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command =
      app.add_subcommand("alarms", "false-alarm rate observed against the one asked for");
  command->add_option("--clients", options->clients)->capture_default_str();
  command->add_option("--steps", options->steps, "scorings of each client per phase")
      ->capture_default_str();
  command->add_option("--warm-up", options->warm_up, "steps before a phase")->capture_default_str();
  command->add_option("--seed", options->seed)->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace driftlock::eval
