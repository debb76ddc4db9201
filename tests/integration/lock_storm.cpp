// lock_storm: many sessions of the client library acquire and release exclusive locks at random and
// check what the node promises, in one process that sees all of them: no key is held twice, tokens
// rise on every key, every operation is answered, no lease is lost, and afterwards every key is
// free. Exits 0 where all of it held; prints what it saw. HISTORY is written for driftlock-check.
//
//   lock_storm SERVER KEY_FILE SESSIONS PAIRS KEYS SEED [HISTORY]
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "hw/key_file.hpp"
#include "hw/udp_transport.hpp"
#include "src/client/client.hpp"
#include "tools/check/history.hpp"

namespace driftlock {
namespace {

constexpr Nanoseconds kWaitNs = 60 * kSecond;      // longer than any queue here
constexpr Nanoseconds kPatienceNs = 20 * kSecond;  // many repeats: without an answer it has failed

struct Findings {
  std::atomic<std::uint64_t> pairs{0};
  std::atomic<std::uint64_t> held_twice{0};
  std::atomic<std::uint64_t> tokens_fallen{0};
  std::atomic<std::uint64_t> unanswered{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> leases_lost{0};
  std::atomic<std::uint64_t> not_free{0};

  [[nodiscard]] bool clean() const {
    return held_twice == 0 && tokens_fallen == 0 && unanswered == 0 && refused == 0 &&
           leases_lost == 0 && not_free == 0;
  }
};

// Who holds a key, as its holders see it: from the return of lock() to the call of unlock(), which
// lies within the time for which the node has granted it.
class Ledger {
 public:
  Ledger(std::size_t keys, Findings& findings) : entries_(keys), findings_(findings) {}

  void granted(std::size_t key, int session, std::uint64_t token) {
    Entry& entry = entries_[key];
    const std::lock_guard guard(entry.mutex);
    if (entry.holder != kNobody) {
      ++findings_.held_twice;
      std::printf("key %zu: held by session %d (token %lu) and granted to %d (token %lu)\n", key,
                  entry.holder, entry.token, session, token);
    }
    if (token <= entry.token) {
      ++findings_.tokens_fallen;
      std::printf("key %zu: token %lu after %lu\n", key, token, entry.token);
    }
    entry.holder = session;
    entry.token = token;
  }
  void giving_up(std::size_t key) {
    const std::lock_guard guard(entries_[key].mutex);
    entries_[key].holder = kNobody;
  }

 private:
  static constexpr int kNobody = -1;
  struct Entry {
    std::mutex mutex;
    int holder = kNobody;
    std::uint64_t token = 0;
  };
  std::vector<Entry> entries_;
  Findings& findings_;
};

// What each session asked, was told and believed, on the one clock of this process.
class Recorder {
 public:
  explicit Recorder(bool wanted) : wanted_(wanted) {}

  std::uint64_t invoked(check::HistoryOp op, const std::string& key, int session,
                        std::uint64_t token = 0) {
    if (!wanted_) return 0;
    check::HistoryOperation operation;
    operation.op = op;
    operation.client = static_cast<std::uint32_t>(session);
    operation.permits = check::kAllPermits;
    operation.token = token;
    operation.called_ns = now_ns();
    const std::lock_guard guard(mutex_);
    return history_.invoke(key, operation);
  }
  void completed(std::uint64_t number, wire::Status status, std::uint64_t granted = 0) {
    if (!wanted_) return;
    const Nanoseconds at_ns = now_ns();
    const std::lock_guard guard(mutex_);
    history_.complete(at_ns, number, wire::to_string(status), granted);
  }
  // `at_ns`: before the lock was asked.
  void held(Nanoseconds at_ns, const std::string& key, int session, std::uint64_t token) {
    if (!wanted_) return;
    const std::lock_guard guard(mutex_);
    history_.held(at_ns, static_cast<std::uint32_t>(session), key, token);
  }
  [[nodiscard]] static Nanoseconds now_ns() {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  }
  [[nodiscard]] bool write(const std::string& file) const { return history_.write(file); }

 private:
  const bool wanted_;
  std::mutex mutex_;
  check::History history_;
};

struct Settings {
  std::string server;
  ClientKey key;
  int sessions = 50;
  std::uint64_t pairs = 100'000;
  std::size_t keys = 1000;
  std::uint64_t seed = 1;
  std::string history;  // a file; empty: none
};

std::string name_of(std::size_t key) {
  return "storm/" + std::to_string(key);
}

std::unique_ptr<Client> connect(const Settings& settings) {
  ClientOptions options;
  options.session.client_id = settings.key.id;
  options.session.client_key = settings.key.key;
  options.session.reopen = false;  // a session that is lost is a finding
  options.patience_ns = kPatienceNs;
  auto client = connect_udp(settings.server, options);
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.error().message.c_str());
    std::exit(1);
  }
  return std::move(client).value();
}

// What the threads share.
struct Books {
  Ledger& ledger;
  Recorder& recorder;
  Findings& findings;
};

bool give_back(Client& client, Lock& lock, int session, Books& books) {
  Findings& findings = books.findings;
  const std::string name = lock.key();
  const std::uint64_t number =
      books.recorder.invoked(check::HistoryOp::kRelease, name, session, lock.token());
  Result<wire::Status> released = client.unlock(lock);
  if (!released.ok()) {
    ++findings.unanswered;
    std::printf("session %d: unlock: %s\n", session, released.error().message.c_str());
    return false;
  }
  books.recorder.completed(number, *released);
  if (*released != wire::Status::kOk) {
    ++findings.refused;
    std::printf("session %d: unlock: %s\n", session, wire::to_string(*released));
    return false;
  }
  ++findings.pairs;
  return true;
}

// One acquire and release; false where this session is of no more use.
bool one_pair(Client& client, std::size_t key, int session, Books& books) {
  Findings& findings = books.findings;
  const std::string name = name_of(key);
  const std::uint64_t number = books.recorder.invoked(check::HistoryOp::kAcquire, name, session);
  Result<LockAnswer> answer = client.lock(name, {.wait_ns = kWaitNs});
  if (!answer.ok()) {
    ++findings.unanswered;
    std::printf("session %d: lock: %s\n", session, answer.error().message.c_str());
    return false;
  }
  if (answer->status != wire::Status::kOk) {
    books.recorder.completed(number, answer->status);
    ++findings.refused;
    std::printf("session %d: lock: %s\n", session, wire::to_string(answer->status));
    return false;
  }
  Lock& lock = *answer->lock;
  books.recorder.completed(number, answer->status, lock.token());
  books.ledger.granted(key, session, lock.token());
  std::this_thread::yield();  // gives a second holder its chance to show itself
  const Nanoseconds asked_ns = Recorder::now_ns();
  if (lock.still_held()) {
    books.recorder.held(asked_ns, name, session, lock.token());
  } else {
    ++findings.leases_lost;
  }
  books.ledger.giving_up(key);
  return give_back(client, lock, session, books);
}

// Some keys are wanted much more than others, so that there is something to wait for.
std::size_t choose_key(std::mt19937_64& random, std::size_t keys) {
  const double uniform = std::uniform_real_distribution<double>(0.0, 1.0)(random);
  return std::min(
      keys - 1, static_cast<std::size_t>(uniform * uniform * uniform * static_cast<double>(keys)));
}

void run_session(const Settings& settings, Client& client, int session, Books& books) {
  std::mt19937_64 random(settings.seed * 1'000 + static_cast<std::uint64_t>(session));
  const auto sessions = static_cast<std::uint64_t>(settings.sessions);
  const std::uint64_t share =
      settings.pairs / sessions + (static_cast<std::uint64_t>(session) < settings.pairs % sessions);
  for (std::uint64_t i = 0; i < share; ++i) {
    if (!one_pair(client, choose_key(random, settings.keys), session, books)) return;
  }
}

void check_all_free(const Settings& settings, Findings& findings) {
  const auto client = connect(settings);
  for (std::size_t key = 0; key < settings.keys; ++key) {
    const Result<wire::Reply> reply = client->query(name_of(key));
    if (!reply.ok()) {
      ++findings.unanswered;
    } else if (reply->holders != 0 || reply->waiters != 0) {
      ++findings.not_free;
      std::printf("key %zu: %u holders, %u waiters\n", key, reply->holders, reply->waiters);
    }
  }
}

int storm(const Settings& settings) {
  Findings findings;
  Ledger ledger(settings.keys, findings);
  Recorder recorder(!settings.history.empty());
  Books books{ledger, recorder, findings};
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < settings.sessions; ++i) clients.push_back(connect(settings));
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < settings.sessions; ++i) {
    threads.emplace_back(
        [&, i] { run_session(settings, *clients[static_cast<std::size_t>(i)], i, books); });
  }
  for (std::thread& thread : threads) thread.join();
  const std::chrono::duration<double> lasted = std::chrono::steady_clock::now() - begin;
  check_all_free(settings, findings);  // with every session still open: nothing was left behind
  std::uint64_t sent = 0;
  std::uint64_t repeated = 0;
  for (const auto& client : clients) {
    sent += client->counters().sent;
    repeated += client->counters().repeated;
  }
  clients.clear();
  if (!settings.history.empty() && !recorder.write(settings.history)) {
    std::fprintf(stderr, "cannot write %s\n", settings.history.c_str());
    return 1;
  }
  std::printf(
      "pairs %lu held_twice %lu tokens_fallen %lu unanswered %lu refused %lu leases_lost %lu "
      "not_free %lu\nsent %lu repeated %lu seconds %.1f pairs_per_second %.0f\n",
      findings.pairs.load(), findings.held_twice.load(), findings.tokens_fallen.load(),
      findings.unanswered.load(), findings.refused.load(), findings.leases_lost.load(),
      findings.not_free.load(), sent, repeated, lasted.count(),
      static_cast<double>(findings.pairs) / lasted.count());
  return findings.clean() && findings.pairs == settings.pairs ? 0 : 1;
}

}  // namespace
}  // namespace driftlock

int main(int argc, char** argv) {
  if (argc != 7 && argc != 8) {
    std::fprintf(stderr, "usage: lock_storm SERVER KEY_FILE SESSIONS PAIRS KEYS SEED [HISTORY]\n");
    return 2;
  }
  auto key = driftlock::load_client_key(argv[2], std::nullopt);
  if (!key.ok()) {
    std::fprintf(stderr, "%s\n", key.error().message.c_str());
    return 2;
  }
  return driftlock::storm({argv[1], *key, std::atoi(argv[3]), std::strtoull(argv[4], nullptr, 10),
                           std::strtoull(argv[5], nullptr, 10), std::strtoull(argv[6], nullptr, 10),
                           argc == 8 ? argv[7] : ""});
}
