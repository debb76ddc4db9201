// Taking a lock from a terminal or a script: waiting for it and holding it with an ear for signals.
#pragma once

#include <csignal>
#include <memory>
#include <optional>
#include <string>

#include "src/base/result.hpp"
#include "src/client/client.hpp"
#include "tools/driftlock/report.hpp"
#include "tools/driftlock/settings.hpp"

namespace driftlock::cli {

// Signals arrive through a descriptor. To be made before any thread is, so that all threads leave
// them alone.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  struct Arrived {
    int number = 0;
    bool by_process = false;  // kill(2), not the terminal, which signals the whole group itself
  };
  // Waits for a signal, wake() or the timeout (< 0: none).
  [[nodiscard]] std::optional<Arrived> wait(Nanoseconds timeout_ns);
  void wake();  // from any thread
  // Puts things back as they were, in a child that is about to become another program.
  void restore() const;

 private:
  sigset_t before_{};
  int descriptor_ = -1;
  int waker_ = -1;
};

[[nodiscard]] bool ends_program(int signal);

struct Connection {
  std::unique_ptr<Client> client;
  int exit_code = kExitOk;  // why there is no client
  std::string message;
};
// Every event of the session wakes `signals`.
[[nodiscard]] Connection connect(const Settings& settings, Signals& signals);

struct Taken {
  std::optional<Lock> lock;
  int exit_code = kExitOk;  // why there is no lock
  std::string reason;       // one word, for --json
  std::string message;
};
[[nodiscard]] Taken take(Client& client, const Settings& settings, Signals& signals);

int lock_command(const Settings& settings, const Report& report);
int unlock_command(const Settings& settings, const Report& report);
int run_command(const Settings& settings, const Report& report);
int ping_command(const Settings& settings, const Report& report);
int clock_command(const Settings& settings, const Report& report);
int status_command(const Settings& settings, const Report& report);
int holders_command(const Settings& settings, const Report& report);
int cluster_command(const Settings& settings, const Report& report);
int predict_command(const Settings& settings, const Report& report);
int keygen_command(const Settings& settings, const Report& report);
int probe_command(const Settings& settings, const Report& report);

}  // namespace driftlock::cli
