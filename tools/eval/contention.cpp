// driftlock-eval contention: grants in advance on a trace of lock requests, by several policies.
// driftlock-eval trace: writes such a trace. The format is in docs/prediction.md.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/predict/contention_replay.hpp"
#include "tools/eval/commands.hpp"

namespace driftlock::eval {
namespace {

struct Options {
  std::string trace;
  std::string out = "-";
  std::vector<std::string> policies = {"none", "last-holder", "markov", "ours"};
  TraceOptions generated;
  unsigned seeds = 1;
  double round_trip_us = 100.0;
  double hold_us = 500.0;
  ReplayOptions replay;
};

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  throw CLI::RuntimeError(1);
}

// Names of clients and locks may be any words: each gets a number.
class Numbers {
 public:
  std::uint32_t of(const std::string& name) {
    return known_.emplace(name, static_cast<std::uint32_t>(known_.size())).first->second;
  }

 private:
  std::unordered_map<std::string, std::uint32_t> known_;
};

Nanoseconds number_at(const std::string& text, const std::string& where) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || *end != '\0' || !(value >= 0.0) || value > 9e18) {
    fail(where + ": '" + text + "' is not a number of nanoseconds");
  }
  return value < 9e15 ? static_cast<Nanoseconds>(value) : std::stoll(text);
}

std::vector<TraceRequest> read_trace(const std::string& path) {
  std::ifstream file(path);
  if (!file) fail(path + ": cannot be read");
  std::vector<TraceRequest> trace;
  Numbers clients;
  Numbers locks;
  std::string line;
  for (unsigned number = 1; std::getline(file, line); ++number) {
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream words(line);
    std::string time;
    std::string client;
    std::string lock;
    std::string hold;
    if (!(words >> time) || time.front() == '#') continue;
    if (std::isalpha(static_cast<unsigned char>(time.front())) != 0 && trace.empty()) continue;
    const std::string where = path + ":" + std::to_string(number);
    std::string more;
    if (!(words >> client >> lock >> hold) || words >> more) {
      fail(where + ": four words are wanted: time ns, client, lock, hold ns");
    }
    trace.push_back({number_at(time, where), clients.of(client), locks.of(lock) + 1ULL,
                     number_at(hold, where)});
  }
  if (trace.empty()) fail(path + ": no request in it");
  std::stable_sort(trace.begin(), trace.end(), [](const TraceRequest& a, const TraceRequest& b) {
    return a.time_ns < b.time_ns;
  });
  return trace;
}

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

void print(const char* policy, const ReplayResult& result, const ReplayResult* off) {
  std::printf(
      "policy=%s grants=%llu speculated=%llu speculated_share=%.4f hit_rate=%.4f "
      "crossed=%.4f wasted=%.4f recalled=%llu local_share=%.4f latency_mean_us=%.2f "
      "latency_p50_us=%.2f "
      "latency_p99_us=%.2f",
      policy, static_cast<unsigned long long>(result.grants),
      static_cast<unsigned long long>(result.speculated), share(result.speculated, result.grants),
      share(result.hits, result.speculated - result.open), share(result.crossed, result.speculated),
      share(result.wasted, result.speculated - result.open),
      static_cast<unsigned long long>(result.recalled), share(result.hits, result.grants),
      result.latency_mean_ns / 1e3, result.latency_p50_ns / 1e3, result.latency_p99_ns / 1e3);
  if (off != nullptr) {
    std::printf(" mean_vs_none=%+.2f%% p99_vs_none=%+.2f%%",
                100.0 * (result.latency_mean_ns / off->latency_mean_ns - 1.0),
                100.0 * (result.latency_p99_ns / off->latency_p99_ns - 1.0));
  }
  std::printf("\n");
}

void evaluate(const std::vector<TraceRequest>& trace, const Options& options) {
  ReplayResult off;
  bool have_off = false;
  ReplayResult last;
  for (const std::string& name : options.policies) {
    SpeculationPolicy policy{};
    if (!parse_policy(name, policy)) {
      fail("no policy '" + name + "': none, last-holder, markov or ours");
    }
    last = replay_contention(trace, policy, options.replay);
    print(name.c_str(), last, have_off ? &off : nullptr);
    if (policy == SpeculationPolicy::kNone) {
      off = last;
      have_off = true;
    }
  }
  std::printf(
      "forecast: waited=%llu wait_mean_us=%.2f mean_absolute_error_us=%.2f "
      "by_mean_hold_of_all_us=%.2f\n",
      static_cast<unsigned long long>(last.waited), last.wait_mean_ns / 1e3,
      last.forecast_error_ns / 1e3, last.forecast_naive_error_ns / 1e3);
}

void run(Options options) {
  options.replay.round_trip_ns = static_cast<Nanoseconds>(options.round_trip_us * 1e3);
  options.replay.model.round_trip_ns = options.replay.round_trip_ns;
  options.generated.hold_ns = static_cast<Nanoseconds>(options.hold_us * 1e3);
  if (!parse_trace_kind(options.trace, options.generated.kind)) {
    return evaluate(read_trace(options.trace), options);
  }
  for (unsigned i = 0; i < options.seeds; ++i) {
    std::printf("trace=%s affinity=%g seed=%llu\n", options.trace.c_str(),
                options.generated.affinity,
                static_cast<unsigned long long>(options.generated.seed));
    evaluate(generate_trace(options.generated), options);
    ++options.generated.seed;
  }
}

void write(Options options) {
  options.generated.hold_ns = static_cast<Nanoseconds>(options.hold_us * 1e3);
  if (!parse_trace_kind(options.trace, options.generated.kind)) {
    fail("no kind of trace '" + options.trace + "': zipf, tpcc or smallbank");
  }
  std::FILE* file = options.out == "-" ? stdout : std::fopen(options.out.c_str(), "w");
  if (file == nullptr) fail(options.out + ": cannot be written");
  std::fprintf(file, "# time_ns client lock hold_ns\n");
  for (const TraceRequest& request : generate_trace(options.generated)) {
    std::fprintf(file, "%lld %u %llu %lld\n", static_cast<long long>(request.time_ns),
                 request.client, static_cast<unsigned long long>(request.lock),
                 static_cast<long long>(request.hold_ns));
  }
  if (file != stdout && std::fclose(file) != 0) fail(options.out + ": cannot be written");
}

void add_generator(CLI::App& command, Options& options) {
  TraceOptions& generated = options.generated;
  command.add_option("--requests", generated.requests)->capture_default_str();
  command.add_option("--clients", generated.clients)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--size", generated.size,
                  "zipf: locks; tpcc: warehouses; smallbank: customers; 0: the kind's own")
      ->capture_default_str();
  command
      .add_option("--affinity", generated.affinity,
                  "share of work that goes to the client at home there; 0: without affinity")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--exponent", generated.exponent, "zipf")->capture_default_str();
  command
      .add_option("--load", generated.load,
                  "share of time the busiest lock is held; 0: the kind's own")
      ->check(CLI::Range(0.0, 0.99))
      ->capture_default_str();
  command.add_option("--hold-us", options.hold_us, "mean hold")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--moves", generated.moves_per_1000, "zipf: homes that move, per 1000 requests")
      ->capture_default_str();
  command.add_option("--seed", generated.seed)->capture_default_str();
}

}  // namespace

void add_contention(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("contention", "grants in advance on a trace of requests");
  command
      ->add_option("trace", options->trace,
                   "'time_ns client lock hold_ns' per line; or zipf, tpcc, smallbank")
      ->required();
  command->add_option("--policies", options->policies, "which, separated by commas")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--round-trip-us", options->round_trip_us)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--hit-min", options->replay.model.hit_min,
                   "least chance of a hit to grant in advance")
      ->capture_default_str();
  command->add_option("--seeds", options->seeds, "of a generated trace: so many, one after another")
      ->capture_default_str();
  add_generator(*command, *options);
  command->callback([options] { run(*options); });

  auto writing = std::make_shared<Options>();
  auto* trace = app.add_subcommand("trace", "writes a trace for the command contention");
  trace->add_option("kind", writing->trace, "zipf, tpcc or smallbank")->required();
  trace->add_option("-o,--out", writing->out, "file; -: standard output")->capture_default_str();
  add_generator(*trace, *writing);
  trace->callback([writing] { write(*writing); });
}

}  // namespace driftlock::eval
