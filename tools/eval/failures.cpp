// driftlock-eval failures: real processes over real UDP, some of which fail while they hold a lock:
// hung (SIGSTOP), crashed (SIGKILL), or busy in a loop; others are healthy but slow: stopped for a
// while, now and then. Tells the time from the failure to the next holder's grant and the wrong
// revocations (of clients that had not failed), for nodes with fixed lease terms and for nodes that
// predict.
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/predict/evaluation.hpp"
#include "src/predict/random.hpp"
#include "tools/eval/commands.hpp"
#include "tools/eval/failures_client.hpp"
#include "tools/eval/node_process.hpp"

namespace driftlock::eval {
namespace {

constexpr std::uint16_t kNamespace = 1;

struct Options {
  std::string node;
  unsigned clients = 200;
  unsigned per_lock = 2;
  double slow_share = 0.05;
  double slow_stop_s = 3.0;   // a slow client is stopped for up to so long
  double slow_every_s = 8.0;  // on average
  unsigned failures = 40;
  double warm_up_s = 30.0;
  double failing_s = 20.0;
  std::vector<double> fixed_s = {5.0, 3.0, 2.0};
  std::vector<std::string> policies = {"wait", "fence"};
  double default_term_s = 5.0;
  std::uint64_t seed = 1;
  std::vector<std::string> settings;
};

// A node to be compared.
struct Contender {
  std::string name;
  std::string policy;
  double term_s = 0.0;
  bool predicts = false;
};

struct Outcome {
  Contender contender;
  std::vector<double> seconds;  // from each failure to the next holder's grant
  std::size_t unserved = 0;     // failures after which nobody else was granted in the run
  std::size_t wrong = 0;
  std::size_t early = 0;       // policy wait: grants before the failed holder's lease was over
  std::size_t disordered = 0;  // grants whose token did not rise
  std::size_t grants = 0;
  double datagrams_per_second = 0.0;
};

std::int64_t clock_ns(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return Nanoseconds{now.tv_sec} * kSecond + now.tv_nsec;
}

void sleep_until(std::int64_t boot_ns) {
  const timespec until{boot_ns / kSecond, boot_ns % kSecond};
  while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

enum class Kind { kHung, kCrashed, kBusy };

struct Failure {
  std::uint32_t client = 0;
  std::uint32_t lock = 0;
  Kind kind = Kind::kHung;
  std::int64_t at_ns = 0;
  std::int64_t lease_end_tai_ns = 0;
};

class Run {
 public:
  Run(const Options& options, const Contender& contender)
      : options_(options), random_(options.seed), contender_(contender) {
    void* memory =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    DRIFTLOCK_ASSERT(memory != MAP_FAILED);
    board_ = static_cast<Board*>(memory);
    pids_.assign(options.clients, -1);
    resume_ns_.assign(options.clients, 0);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() {
    board_->stop = 1;
    for (const pid_t pid : pids_) {
      if (pid > 0) kill(pid, SIGKILL);
    }
    for (const pid_t pid : pids_) {
      if (pid > 0) waitpid(pid, nullptr, 0);
    }
    munmap(board_, sizeof(Board));
  }

  Outcome measure(const NodeProcess& node) {
    for (std::uint32_t i = 0; i < options_.clients; ++i) begin_client(i, node.address());
    begin_ns_ = clock_ns(CLOCK_BOOTTIME);
    const auto warm_ns = begin_ns_ + static_cast<std::int64_t>(options_.warm_up_s * 1e9);
    const auto end_ns = warm_ns + static_cast<std::int64_t>(options_.failing_s * 1e9);
    // After the last failure everybody has the time of a fixed lease and a half.
    const auto rest_ns = static_cast<std::int64_t>(1.5e9 * contender_.term_s);
    constexpr std::int64_t kTick = 10 * kMillisecond;
    for (std::int64_t now = begin_ns_; now < end_ns + rest_ns; now += kTick) {
      sleep_until(now);
      slow_down(now);
      const double part =
          static_cast<double>(now - warm_ns) / static_cast<double>(end_ns - warm_ns);
      if (part > 0.0 && failures_.size() < static_cast<std::size_t>(part * options_.failures) &&
          failures_.size() < options_.failures) {
        fail_somebody();
      }
    }
    return judge();
  }

 private:
  void begin_client(std::uint32_t index, const std::string& address) {
    ClientWork work;
    work.server = address;
    work.session.client_id = 1;
    work.session.client_key = NodeProcess::client_key();
    work.index = index;
    work.lock = index / options_.per_lock;
    work.namespace_id = kNamespace;
    work.seed = options_.seed * 100'000 + index;
    const pid_t pid = fork();
    DRIFTLOCK_ASSERT(pid >= 0);
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody outlives the run
      _exit(work_as_client(work, *board_));
    }
    pids_[index] = pid;
  }

  [[nodiscard]] bool is_slow(std::uint32_t client) const {
    return client < static_cast<std::uint32_t>(options_.slow_share * options_.clients);
  }
  [[nodiscard]] bool has_failed(std::uint32_t client) const {
    return std::any_of(failures_.begin(), failures_.end(),
                       [client](const Failure& failure) { return failure.client == client; });
  }

  // Healthy clients that are stopped now and then: a swapping machine, a debugger, a long
  // collection.
  void slow_down(std::int64_t now) {
    for (std::uint32_t i = 0; is_slow(i); ++i) {
      if (resume_ns_[i] != 0 && now >= resume_ns_[i]) {
        if (!has_failed(i)) kill(pids_[i], SIGCONT);
        resume_ns_[i] = 0;
      } else if (resume_ns_[i] == 0 && !has_failed(i) &&
                 random_.uniform() < 0.01 / options_.slow_every_s) {
        kill(pids_[i], SIGSTOP);
        const double length_s = options_.slow_stop_s * (0.5 + 0.5 * random_.uniform());
        resume_ns_[i] = now + static_cast<std::int64_t>(length_s * 1e9);
      }
    }
  }

  // Somebody who holds a lock that has not seen a failure yet.
  void fail_somebody() {
    for (int tries = 0; tries < 1000; ++tries) {
      const auto client = static_cast<std::uint32_t>(random_.below(options_.clients));
      const std::uint32_t lock = client / options_.per_lock;
      const bool used = std::any_of(failures_.begin(), failures_.end(),
                                    [lock](const Failure& one) { return one.lock == lock; });
      if (used || board_->clients[client].holds.load() == 0 || resume_ns_[client] != 0) continue;
      Failure failure;
      failure.client = client;
      failure.lock = lock;
      // Few are busy: each takes a processor for the rest of the run.
      const std::size_t turn = failures_.size();
      failure.kind = turn % 20 == 19 ? Kind::kBusy : turn % 2 == 0 ? Kind::kHung : Kind::kCrashed;
      if (failure.kind == Kind::kBusy) {
        board_->clients[client].busy = 1;
      } else {
        kill(pids_[client], failure.kind == Kind::kHung ? SIGSTOP : SIGKILL);
      }
      failure.at_ns = clock_ns(CLOCK_BOOTTIME);
      failure.lease_end_tai_ns = board_->clients[client].lease_end_ns.load();
      // It may have given the lock back in the moment before.
      if (board_->clients[client].holds.load() == 0) failure.lock = ~0U;
      failures_.push_back(failure);
      return;
    }
  }

  Outcome judge() {
    Outcome outcome;
    outcome.contender = contender_;
    const std::size_t count = std::min<std::size_t>(board_->notes_used.load(), Board::kNotesMax);
    std::vector<Note> notes(board_->notes.begin(),
                            board_->notes.begin() + static_cast<std::ptrdiff_t>(count));
    std::stable_sort(notes.begin(), notes.end(),
                     [](const Note& a, const Note& b) { return a.at_ns < b.at_ns; });
    std::map<std::uint32_t, std::uint64_t> newest;
    for (const Note& note : notes) {
      if (note.what == Happening::kLost && !was_failing(note)) ++outcome.wrong;
      if (note.what != Happening::kGranted) continue;
      ++outcome.grants;
      // Processes take turns to write: a stopped one may write of its grant late.
      if (note.token < newest[note.lock] && !is_slow(note.client)) ++outcome.disordered;
      newest[note.lock] = std::max(newest[note.lock], note.token);
    }
    for (const Failure& failure : failures_) judge_failure(failure, notes, outcome);
    std::uint64_t sent = 0;
    for (std::uint32_t i = 0; i < options_.clients; ++i) sent += board_->clients[i].sent.load();
    outcome.datagrams_per_second =
        static_cast<double>(sent) /
        (static_cast<double>(clock_ns(CLOCK_BOOTTIME) - begin_ns_) / 1e9);
    return outcome;
  }

  [[nodiscard]] bool was_failing(const Note& note) const {
    return std::any_of(failures_.begin(), failures_.end(), [&](const Failure& failure) {
      return failure.client == note.client && failure.at_ns <= note.at_ns;
    });
  }

  void judge_failure(const Failure& failure, const std::vector<Note>& notes, Outcome& outcome) {
    if (failure.lock == ~0U) return;
    const auto next = std::find_if(notes.begin(), notes.end(), [&](const Note& note) {
      return note.what == Happening::kGranted && note.lock == failure.lock &&
             note.at_ns > failure.at_ns && note.client != failure.client;
    });
    if (next == notes.end()) {
      ++outcome.unserved;
      return;
    }
    outcome.seconds.push_back(static_cast<double>(next->at_ns - failure.at_ns) / 1e9);
    const std::int64_t tai_now = clock_ns(CLOCK_REALTIME) + tai_offset_ns();
    const std::int64_t granted_tai = next->at_ns - clock_ns(CLOCK_BOOTTIME) + tai_now;
    constexpr std::int64_t kSlack = 2 * kMillisecond;  // of these readings
    const bool waited = contender_.policy == "wait";
    if (waited && granted_tai + kSlack < failure.lease_end_tai_ns) ++outcome.early;
  }

  static std::int64_t tai_offset_ns() {
    const std::int64_t offset = clock_ns(CLOCK_TAI) - clock_ns(CLOCK_REALTIME);
    return offset > kSecond ? offset : 37 * kSecond;
  }

  const Options& options_;
  Random random_;
  const Contender contender_;
  Board* board_ = nullptr;
  std::vector<pid_t> pids_;
  std::vector<std::int64_t> resume_ns_;
  std::vector<Failure> failures_;
  std::int64_t begin_ns_ = 0;
};

double mean_of(const Outcome& outcome) {
  return outcome.seconds.empty() ? 0.0 : spread_of(outcome.seconds).mean;
}

void print(const Outcome& outcome) {
  std::printf(
      "node=%s policy=%s failures=%zu next_grant_mean_s=%.3f p50_s=%.3f p90_s=%.3f max_s=%.3f "
      "unserved=%zu wrong_revocations=%zu early_grants=%zu disordered=%zu grants=%zu "
      "datagrams_per_client_second=%.2f\n",
      outcome.contender.name.c_str(), outcome.contender.policy.c_str(), outcome.seconds.size(),
      mean_of(outcome), quantile_of(outcome.seconds, 0.5), quantile_of(outcome.seconds, 0.9),
      quantile_of(outcome.seconds, 1.0), outcome.unserved, outcome.wrong, outcome.early,
      outcome.disordered, outcome.grants, outcome.datagrams_per_second);
  std::fflush(stdout);
}

Outcome measure(const Options& options, const Contender& contender) {
  std::vector<std::string> settings = {
      "predict.mode=" + std::string(contender.predicts ? "act" : "off"),
      "lease.term_default_ms=" + std::to_string(static_cast<int>(contender.term_s * 1e3)),
      "namespaces.rules=" + std::to_string(kNamespace) + ": policy=" + contender.policy,
      "log.level=warning"};
  settings.insert(settings.end(), options.settings.begin(), options.settings.end());
  Result<NodeProcess> node = NodeProcess::start(options.node, settings);
  if (!node.ok()) {
    std::fprintf(stderr, "%s\n", node.error().message.c_str());
    throw CLI::RuntimeError(1);
  }
  Outcome outcome;
  {
    Run run(options, contender);
    outcome = run.measure(*node);
    outcome.datagrams_per_second /= options.clients;
    print(outcome);
  }
  if (contender.predicts) std::printf("  %s\n", node->ask("{\"command\":\"predict\"}").c_str());
  return outcome;
}

// The fixed node with the shortest term that revokes wrongly no more often.
void compare(const Outcome& predicting, const std::vector<Outcome>& fixed) {
  const Outcome* peer = nullptr;
  for (const Outcome& one : fixed) {
    if (one.wrong > predicting.wrong) continue;
    if (peer == nullptr || mean_of(one) < mean_of(*peer)) peer = &one;
  }
  if (peer == nullptr) {
    std::printf("compare policy=%s: every fixed node revokes wrongly more often\n",
                predicting.contender.policy.c_str());
    return;
  }
  std::printf(
      "compare policy=%s fixed=%s wrong=%zu mean_s=%.3f act_wrong=%zu act_mean_s=%.3f "
      "ratio=%.3f\n",
      predicting.contender.policy.c_str(), peer->contender.name.c_str(), peer->wrong,
      mean_of(*peer), predicting.wrong, mean_of(predicting), mean_of(predicting) / mean_of(*peer));
}

void run(const Options& options) {
  if (options.clients > Board::kClientsMax ||
      options.failures * options.per_lock > options.clients) {
    std::fprintf(stderr, "at most %zu clients, and a lock of its own for each failure\n",
                 Board::kClientsMax);
    throw CLI::RuntimeError(1);
  }
  std::vector<Outcome> fixed;
  for (const double term_s : options.fixed_s) {
    char name[32];
    std::snprintf(name, sizeof(name), "fixed-%gs", term_s);
    fixed.push_back(measure(options, {name, "wait", term_s, false}));
  }
  std::size_t broken = 0;
  std::vector<Outcome> predicting;
  for (const std::string& policy : options.policies) {
    predicting.push_back(measure(options, {"act", policy, options.default_term_s, true}));
  }
  for (const Outcome& one : predicting) compare(one, fixed);
  for (const auto* list : {&fixed, &predicting}) {
    for (const Outcome& one : *list) broken += one.early + one.disordered;
  }
  std::printf("promises broken: %zu\n", broken);
  if (broken != 0) throw CLI::RuntimeError(1);
}

// Beside this program in a build, else where it is installed.
std::string default_node() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto beside = self.parent_path().parent_path().parent_path() / "src/node/driftlockd";
  return std::filesystem::exists(beside, error) ? beside.string() : "/usr/sbin/driftlockd";
}

}  // namespace

void add_failures(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->node = default_node();
  auto* command = app.add_subcommand(
      "failures",
      "real clients that fail: time to the next grant, fixed leases against prediction");
  command->add_option("--node", options->node, "driftlockd to run")->capture_default_str();
  command->add_option("--clients", options->clients)->capture_default_str();
  command->add_option("--per-lock", options->per_lock, "clients that contend for each lock")
      ->check(CLI::Range(2, 64))
      ->capture_default_str();
  command->add_option("--failures", options->failures)->capture_default_str();
  command
      ->add_option("--slow", options->slow_share, "share of healthy clients stopped now and then")
      ->capture_default_str();
  command->add_option("--slow-stop", options->slow_stop_s, "for up to so many seconds")
      ->capture_default_str();
  command->add_option("--slow-every", options->slow_every_s, "so often")->capture_default_str();
  command->add_option("--warm-up", options->warm_up_s, "seconds")->capture_default_str();
  command->add_option("--failing", options->failing_s, "seconds")->capture_default_str();
  command->add_option("--fixed", options->fixed_s, "lease terms to compare with, s")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--policies", options->policies, "of the predicting nodes")
      ->delimiter(',')
      ->check(CLI::IsMember({"wait", "fence"}))
      ->capture_default_str();
  command->add_option("--set", options->settings, "more options of the nodes")
      ->allow_extra_args(false);
  command->add_option("--seed", options->seed)->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace driftlock::eval
