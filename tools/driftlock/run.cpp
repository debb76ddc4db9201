// `driftlock run KEY -- command`: the command lives inside the lease. It runs in a process group of
// its own, so that all of it can be stopped: asked to (SIGTERM) a little before the lease ends
// without having been renewed, made to (SIGKILL) at the end.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tools/driftlock/hold.hpp"

namespace driftlock::cli {
namespace {

[[noreturn]] void become(const Settings& settings, const Lock& lock, const Signals& signals,
                         pid_t parent, bool foreground) {
  setpgid(0, 0);
  if (foreground) {
    signal(SIGTTOU, SIG_IGN);
    tcsetpgrp(STDIN_FILENO, getpgrp());
    signal(SIGTTOU, SIG_DFL);
  }
  // If this program is killed outright nobody renews: the command ends with it.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kExitRunFailed);
  setenv("DRIFTLOCK_KEY", settings.key.c_str(), 1);
  setenv("DRIFTLOCK_TOKEN", std::to_string(lock.token()).c_str(), 1);
  signals.restore();
  std::vector<char*> arguments;
  for (const std::string& each : settings.command) {
    arguments.push_back(const_cast<char*>(each.c_str()));
  }
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  const int code = errno == ENOENT ? kExitRunNotFound : kExitRunNotExecutable;
  dprintf(STDERR_FILENO, "driftlock: %s: %s\n", arguments[0], std::strerror(errno));
  _exit(code);
}

// Supervises one child until it has ended.
class Supervisor {
 public:
  Supervisor(pid_t child, const Lock& lock, Nanoseconds grace_ns, const Report& report)
      : child_(child), lock_(lock), grace_ns_(grace_ns), report_(report) {}

  // Returns the wait status.
  int watch(Signals& signals) {
    int status = 0;
    for (;;) {
      const pid_t ended = waitpid(child_, &status, WNOHANG | WUNTRACED);
      if (ended == child_ && !WIFSTOPPED(status)) return status;
      stop_where_due();
      const auto signal = signals.wait(next_look_ns());
      if (signal && signal->number != SIGCHLD && signal->by_process) forward(signal->number);
    }
  }
  [[nodiscard]] bool stopped_for_loss() const { return asked_; }

 private:
  void forward(int signal) const { kill(-child_, signal); }

  [[nodiscard]] Nanoseconds next_look_ns() const {
    if (killed_) return -1;
    const Nanoseconds left = lock_.remaining_ns();
    return std::max<Nanoseconds>(asked_ ? left : left - grace_ns_, kMillisecond);
  }

  void stop_where_due() {
    const Nanoseconds left = lock_.remaining_ns();
    if (!asked_ && left <= grace_ns_ && lock_.state() != client::HolderState::kSafe) {
      report_.note("the lease of " + lock_.key() + " is being lost: stopping the command");
      asked_ = true;
      forward(SIGTERM);
      forward(SIGCONT);  // one that is stopped could not hear it
    }
    if (asked_ && !killed_ && left == 0) {
      killed_ = true;
      forward(SIGKILL);
    }
  }

  const pid_t child_;
  const Lock& lock_;
  const Nanoseconds grace_ns_;
  const Report& report_;
  bool asked_ = false;
  bool killed_ = false;
};

int exit_code_of(int status) {
  return WIFSIGNALED(status) ? kExitSignal + WTERMSIG(status) : WEXITSTATUS(status);
}

int run_code(int code) {
  if (code == kExitRefused) return kExitRunRefused;
  return code >= kExitSignal ? code : kExitRunFailed;
}

}  // namespace

int run_command(const Settings& settings, const Report& report) {
  Signals signals;
  Connection connection = connect(settings, signals);
  if (!connection.client) {
    return report.fail(run_code(connection.exit_code), "no_session", connection.message);
  }
  Taken taken = take(*connection.client, settings, signals);
  if (!taken.lock) return report.fail(run_code(taken.exit_code), taken.reason, taken.message);
  Lock& lock = *taken.lock;
  const bool foreground = isatty(STDIN_FILENO) != 0 && tcgetpgrp(STDIN_FILENO) == getpgrp();
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return report.fail(kExitRunFailed, "fork", std::strerror(errno));
  if (child == 0) become(settings, lock, signals, parent, foreground);
  setpgid(child, child);  // here too: whichever of the two is first
  if (report.json()) {
    report.result({{"locked", settings.key},
                   {"namespace", settings.namespace_id},
                   {"token", lock.token()},
                   {"lease_end_ns", lock.lease_end_ns()},
                   {"pid", child}},
                  "");
  }
  const Nanoseconds grace = std::min(settings.grace_ns, connection.client->term_ns() / 3);
  Supervisor supervisor(child, lock, grace, report);
  const int status = supervisor.watch(signals);
  if (foreground) {
    signal(SIGTTOU, SIG_IGN);
    tcsetpgrp(STDIN_FILENO, getpgrp());
  }
  if (supervisor.stopped_for_loss()) {
    return report.fail(kExitRunLost, "lost",
                       "the lease of " + settings.key + " was lost; the command was stopped");
  }
  // Whatever the command left running in its group is outside the lock from here on.
  const Result<wire::Status> answer = connection.client->unlock(lock);
  if (!answer.ok()) report.note(answer.error().message);
  const int code = exit_code_of(status);
  if (report.json()) report.result({{"unlocked", settings.key}, {"exit", code}}, "");
  return code;
}

}  // namespace driftlock::cli
