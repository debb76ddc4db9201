// driftlockd: reads what it is told, starts a Node, waits for the signal to end.
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "hw/key_file.hpp"
#include "src/node/log.hpp"
#include "src/node/node.hpp"
#include "src/node/service_manager.hpp"

namespace driftlock {
namespace {

constexpr const char* kDefaultConfig = "/etc/driftlock/driftlockd.toml";

struct CommandLine {
  std::string config;
  std::vector<std::string> assignments;
  std::string check;
  bool print = false;
  bool markdown = false;
};

int complain(const std::vector<std::string>& wrong) {
  for (const std::string& message : wrong) {
    std::fprintf(stderr, "driftlockd: %s\n", message.c_str());
  }
  return 2;
}

// File, then --set over it, then what must fit together: all that is wrong at once.
std::vector<std::string> gather(const CommandLine& line, const std::string& file,
                                Options& options) {
  std::vector<std::string> wrong;
  if (!file.empty()) wrong = read_options_file(options, file);
  for (const std::string& assignment : line.assignments) {
    const Status set = set_option(options, assignment);
    if (!set.ok()) wrong.push_back(set.error().message);
  }
  const std::string place = file.empty() ? "" : file + ": ";
  for (const std::string& message : check_together(options)) wrong.push_back(place + message);
  return wrong;
}

int check_config(const CommandLine& line) {
  Options options = default_options();
  std::vector<std::string> wrong = gather(line, line.check, options);
  const auto keys = load_key_file(options.auth.keys_file);
  if (!keys.ok()) wrong.push_back(line.check + ": auth.keys_file: " + keys.error().message);
  if (!wrong.empty()) return complain(wrong);
  std::printf("%s: good\n", line.check.c_str());
  return 0;
}

// Signals are taken from a descriptor by the main thread; every other thread has them blocked.
int open_signals() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &ends, SFD_CLOEXEC);
}

// Waits for it, and tells the service manager meanwhile that the lcore still turns. Where it does
// not, nothing is told, and the manager ends us and starts another.
int wait_for_signal(int signals, const ServiceManager& manager, const Node& node) {
  const Nanoseconds every_ns = manager.watchdog_ns() / 3;
  const int timeout_ms = every_ns > 0 ? static_cast<int>(every_ns / kMillisecond) + 1 : -1;
  std::uint64_t turns = 0;
  for (;;) {
    pollfd waiting{signals, POLLIN, 0};
    const int ready = poll(&waiting, 1, timeout_ms);
    signalfd_siginfo info{};
    if (ready > 0 && read(signals, &info, sizeof(info)) == sizeof(info)) {
      return static_cast<int>(info.ssi_signo);
    }
    const std::uint64_t now = node.turns();
    if (now != turns) manager.tell("WATCHDOG=1");
    turns = now;
  }
}

int serve(const Options& options) {
  start_log(options.log);
  const int signals = open_signals();
  const ServiceManager manager;
  Result<std::unique_ptr<Node>> node = Node::start(options);
  if (!node.ok()) {
    log_line(LogLevel::kError, "not started", {{"trouble", node.error().message}});
    return 1;
  }
  const std::string ready = (*node)->ready_line();
  log_line(LogLevel::kInfo, "serving " + ready);
  std::printf("driftlockd ready: %s\n", ready.c_str());
  std::fflush(stdout);
  manager.tell("READY=1\nSTATUS=serving " + ready);
  const int signal = wait_for_signal(signals, manager, **node);
  manager.tell("STOPPING=1");
  log_line(LogLevel::kInfo, "ending", {{"signal", strsignal(signal)}});
  node->reset();
  log_line(LogLevel::kInfo, "ended");
  return 0;
}

int run(const CommandLine& line) {
  if (line.markdown) {
    std::fputs(options_markdown().c_str(), stdout);
    return 0;
  }
  if (!line.check.empty()) return check_config(line);
  std::string file = line.config;
  if (file.empty() && access(kDefaultConfig, R_OK) == 0) file = kDefaultConfig;
  Options options = default_options();
  const std::vector<std::string> wrong = gather(line, file, options);
  if (!wrong.empty()) return complain(wrong);
  if (line.print) {
    std::fputs(options_toml(options).c_str(), stdout);
    return 0;
  }
  return serve(options);
}

}  // namespace
}  // namespace driftlock

int main(int argc, char** argv) {
  driftlock::CommandLine line;
  CLI::App app("driftlockd: serves locks over UDP, until SIGTERM or SIGINT");
  app.add_option("--config", line.config,
                 std::string("TOML file of options; without it ") + driftlock::kDefaultConfig +
                     ", if that is there");
  app.add_option("--set", line.assignments, "section.key=value, over the file; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--check-config", line.check, "say what is wrong with this file, and end");
  app.add_flag("--print-config", line.print, "print the options in effect, and end");
  app.add_flag("--options-markdown", line.markdown, "print the documentation of all options");
  app.set_version_flag("--version", std::string("driftlockd ") + driftlock::version());
  app.footer("Options (section.key = default, and what is allowed):\n" + driftlock::options_help());
  CLI11_PARSE(app, argc, argv);
  return driftlock::run(line);
}
