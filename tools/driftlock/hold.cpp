#include "tools/driftlock/hold.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <nlohmann/json.hpp>

#include "hw/key_file.hpp"
#include "hw/udp_transport.hpp"
#include "tools/driftlock/detached.hpp"

namespace driftlock::cli {
namespace {

constexpr std::array kCaught{SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGUSR1,
                             SIGUSR2, SIGCHLD, SIGCONT, SIGALRM, SIGWINCH};

// One answer, passed from the client's thread to this one. Outlives both.
struct Mailbox {
  std::mutex mutex;
  std::optional<Result<client::Completion>> answer;
};

client::Operation acquire_of(const Settings& settings) {
  client::Operation operation;
  operation.op = wire::Op::kAcquire;
  operation.name = client::LockName(settings.namespace_id, settings.key);
  if (settings.shared) operation.mode = wire::Mode::kShared;
  if (settings.permits_max > 0) {
    operation.mode = wire::Mode::kSemaphore;
    operation.permits = settings.permits;
    operation.permits_max = settings.permits_max;
  }
  operation.wait_ns = settings.wait_ns;
  operation.patience_ns = settings.timeout_ns;
  return operation;
}

Taken refused(wire::Status status, const std::string& key) {
  Taken taken;
  taken.exit_code = kExitRefused;
  taken.reason = wire::to_string(status);
  switch (status) {
    case wire::Status::kBusy:
      taken.message = key + " is held by another";
      break;
    case wire::Status::kTimeout:
      taken.message = key + " was not free in time";
      break;
    case wire::Status::kClockLost:
      taken.message = "the node does not know what time it is, and grants nothing new";
      break;
    case wire::Status::kFull:
      taken.message = "the node's tables are full";
      break;
    default:
      taken.message = key + " is refused: " + taken.reason;
  }
  return taken;
}

}  // namespace

Signals::Signals() {
  sigset_t caught;
  sigemptyset(&caught);
  for (const int signal : kCaught) sigaddset(&caught, signal);
  sigprocmask(SIG_BLOCK, &caught, &before_);
  descriptor_ = signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
  waker_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  DRIFTLOCK_ASSERT(descriptor_ >= 0 && waker_ >= 0);
}

Signals::~Signals() {
  close(descriptor_);
  close(waker_);
}

std::optional<Signals::Arrived> Signals::wait(Nanoseconds timeout_ns) {
  std::array<pollfd, 2> waiting{pollfd{descriptor_, POLLIN, 0}, pollfd{waker_, POLLIN, 0}};
  const timespec timeout{timeout_ns / kSecond, timeout_ns % kSecond};
  if (ppoll(waiting.data(), waiting.size(), timeout_ns < 0 ? nullptr : &timeout, nullptr) <= 0) {
    return std::nullopt;
  }
  std::uint64_t count = 0;
  if (waiting[1].revents != 0) static_cast<void>(!read(waker_, &count, sizeof(count)));
  signalfd_siginfo info{};
  if (read(descriptor_, &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  return Arrived{static_cast<int>(info.ssi_signo), info.ssi_code <= 0};
}

void Signals::wake() {
  const std::uint64_t one = 1;
  static_cast<void>(!write(waker_, &one, sizeof(one)));
}

void Signals::restore() const {
  sigprocmask(SIG_SETMASK, &before_, nullptr);
}

bool ends_program(int signal) {
  return signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
}

Connection connect(const Settings& settings, Signals& signals) {
  Result<ClientKey> key = load_client_key(settings.key_file, settings.client_id);
  if (!key.ok()) return {nullptr, kExitUsage, key.error().message};
  ClientOptions options;
  options.session.client_id = key->id;
  options.session.client_key = key->key;
  options.session.term_ns = settings.term_ns;
  options.session.fixed_term = settings.detach;  // nobody stays to renew

  options.namespace_id = settings.namespace_id;
  options.patience_ns = settings.timeout_ns;
  options.on_event = [&signals](const client::Event&) { signals.wake(); };
  Result<std::unique_ptr<Client>> client = connect_udp(settings.server, std::move(options));
  if (!client.ok()) return {nullptr, kExitUnreachable, client.error().message};
  return {std::move(client).value(), kExitOk, ""};
}

Taken take(Client& client, const Settings& settings, Signals& signals) {
  const client::Operation operation = acquire_of(settings);
  const auto mailbox = std::make_shared<Mailbox>();
  const client::OperationId id = client.start(
      operation, [mailbox, &signals](client::OperationId, Result<client::Completion> answer) {
        const std::lock_guard held(mailbox->mutex);
        mailbox->answer.emplace(std::move(answer));
        signals.wake();
      });
  int interrupted = 0;
  for (;;) {
    {
      const std::lock_guard held(mailbox->mutex);
      if (mailbox->answer) break;
    }
    const auto signal = signals.wait(-1);
    if (!signal || !ends_program(signal->number) || interrupted != 0) continue;
    interrupted = signal->number;
    client.cancel(id);
  }
  const Result<client::Completion>& answer = *mailbox->answer;
  if (!answer.ok()) return {std::nullopt, kExitUnreachable, "no_answer", answer.error().message};
  const wire::Status status = answer.value().reply.status;
  if (interrupted != 0) {
    if (status == wire::Status::kOk) static_cast<void>(client.adopt(operation, answer.value()));
    return {std::nullopt, kExitSignal + interrupted, "interrupted", "interrupted"};
  }
  if (status != wire::Status::kOk) return refused(status, settings.key);
  Taken taken;
  taken.lock = client.adopt(operation, answer.value());
  return taken;
}

namespace {

int detach(Client& client, Lock& lock, const Settings& settings, const Report& report) {
  DetachedLock detached;
  detached.server = settings.server;
  detached.namespace_id = settings.namespace_id;
  detached.key = settings.key;
  detached.token = lock.token();
  lock.leave_held();
  detached.session = client.detach();
  const Result<std::string> path = save_detached(detached);
  if (!path.ok()) {
    return report.fail(kExitUsage, "state_file",
                       path.error().message + "; " + settings.key + " stays held until " +
                           format_tai(detached.session.lease_end_ns));
  }
  const nlohmann::json object{{"locked", settings.key},
                              {"namespace", settings.namespace_id},
                              {"token", detached.token},
                              {"lease_end_ns", detached.session.lease_end_ns},
                              {"term_ns", detached.session.term_ns},
                              {"detached", true},
                              {"state_file", path.value()}};
  report.result(object, "locked " + settings.key + "  token " + std::to_string(detached.token) +
                            "  until " + format_tai(detached.session.lease_end_ns) +
                            "\ndetached: `driftlock unlock " + settings.key +
                            "` releases it; nothing renews it");
  return kExitOk;
}

int hold(Client& client, Lock& lock, const Report& report, Signals& signals) {
  bool warned = false;
  for (;;) {
    const Nanoseconds left = lock.remaining_ns();
    if (left == 0) {
      return report.fail(kExitLost, "lost", "the lease of " + lock.key() + " was lost");
    }
    const bool jeopardy = lock.state() == client::HolderState::kJeopardy;
    if (jeopardy && !warned) {
      report.note("renewals are not answered; the lease ends in " + format_duration(left));
    }
    warned = jeopardy;
    const auto signal = signals.wait(left);
    if (signal && ends_program(signal->number)) break;
  }
  const std::string key = lock.key();
  const Result<wire::Status> answer = client.unlock(lock);
  if (!answer.ok()) return report.fail(kExitUnreachable, "no_answer", answer.error().message);
  report.result({{"unlocked", key}, {"status", wire::to_string(answer.value())}},
                "unlocked " + key);
  return kExitOk;
}

}  // namespace

int lock_command(const Settings& settings, const Report& report) {
  if (settings.detach) {
    const Status possible = check_detachable(settings.namespace_id, settings.key);
    if (!possible.ok()) return report.fail(kExitUsage, "state_file", possible.error().message);
  }
  Signals signals;
  Connection connection = connect(settings, signals);
  if (!connection.client) {
    return report.fail(connection.exit_code, "no_session", connection.message);
  }
  Client& client = *connection.client;
  Taken taken = take(client, settings, signals);
  if (!taken.lock) return report.fail(taken.exit_code, taken.reason, taken.message);
  if (settings.detach) return detach(client, *taken.lock, settings, report);
  const Lock& lock = *taken.lock;
  const nlohmann::json object{{"locked", settings.key},      {"namespace", settings.namespace_id},
                              {"token", lock.token()},       {"lease_end_ns", lock.lease_end_ns()},
                              {"term_ns", client.term_ns()}, {"detached", false}};
  report.result(object, "locked " + settings.key + "  token " + std::to_string(lock.token()) +
                            "  lease until " + format_tai(lock.lease_end_ns()) +
                            ", renewed until Ctrl-C");
  return hold(client, *taken.lock, report, signals);
}

int unlock_command(const Settings& settings, const Report& report) {
  Result<DetachedLock> detached = load_detached(settings.namespace_id, settings.key);
  if (!detached.ok()) return report.fail(kExitUsage, "state_file", detached.error().message);
  Result<std::unique_ptr<UdpTransport>> transport = UdpTransport::open(detached->server);
  if (!transport.ok()) return report.fail(kExitUsage, "server", transport.error().message);
  ClientOptions options;
  options.namespace_id = settings.namespace_id;
  options.patience_ns = settings.timeout_ns;
  options.seed = random_seed();
  options.node_name = detached->server;
  Result<std::unique_ptr<Client>> client =
      Client::resume(std::move(options), detached->session, std::move(transport).value(),
                     std::make_unique<SystemClock>());
  if (!client.ok()) return report.fail(kExitUnreachable, "no_session", client.error().message);
  const Result<wire::Status> answer = (*client)->unlock(settings.key, detached->token);
  const bool session_gone = !answer.ok() && (*client)->counters().sessions_lost > 0;
  if (!answer.ok() && !session_gone) {
    detached->session = (*client)->detach();
    static_cast<void>(save_detached(*detached));
    return report.fail(kExitUnreachable, "no_answer", answer.error().message);
  }
  forget_detached(settings.namespace_id, settings.key);
  if (session_gone || answer.value() != wire::Status::kOk) {
    return report.fail(kExitRefused, session_gone ? "no_session" : wire::to_string(answer.value()),
                       settings.key + " was not held any more: its lease had ended");
  }
  report.result({{"unlocked", settings.key}, {"token", detached->token}},
                "unlocked " + settings.key + "  token " + std::to_string(detached->token));
  return kExitOk;
}

}  // namespace driftlock::cli
