// restart_storm: many sessions hold many locks while their node is killed and started again, and
// check what was promised: every lock is reclaimed under its token, none is granted to another
// meanwhile, and fresh grants come back. Talks to the test by lines:
//
//   restart_storm SERVER KEY_FILE SESSIONS LOCKS_EACH
//   > holding N              all are held; now kill the node and start it again
//   > reclaimed S of S       all sessions have their locks back
//   > fresh                  a lock that nobody held was granted
//   > checked N lost L double D
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "hw/key_file.hpp"
#include "hw/udp_transport.hpp"
#include "src/client/client.hpp"

namespace driftlock {
namespace {

constexpr Nanoseconds kTermNs = 20 * kSecond;
constexpr int kThreads = 8;

struct Settings {
  std::string server;
  ClientKey key;
  std::size_t sessions = 0;
  std::size_t locks_each = 0;
};

struct Holder {
  std::unique_ptr<Client> client;
  std::vector<Lock> locks;
};

std::string name_of(std::size_t session, std::size_t lock) {
  return "s" + std::to_string(session) + "/" + std::to_string(lock);
}

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::_Exit(1);
}

void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

std::unique_ptr<Client> connect(const Settings& settings,
                                std::function<void(const client::Event&)> on_event) {
  ClientOptions options;
  options.session.client_id = settings.key.id;
  options.session.client_key = settings.key.key;
  options.session.term_ns = kTermNs;
  options.patience_ns = 20 * kSecond;
  options.on_event = std::move(on_event);
  auto client = connect_udp(settings.server, options);
  if (!client.ok()) fail(client.error().message);
  return std::move(client).value();
}

// Calls work(i) for i below count, on a few threads.
template <typename Work>
void spread(std::size_t count, Work&& work) {
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (std::size_t at = next++; at < count; at = next++) work(at);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void take_all(const Settings& settings, std::vector<Holder>& holders,
              std::atomic<std::size_t>& reclaimed) {
  spread(settings.sessions, [&](std::size_t session) {
    Holder& holder = holders[session];
    holder.client = connect(settings, [&](const client::Event& event) {
      if (event.kind == client::EventKind::kReclaimed) ++reclaimed;
      if (event.kind == client::EventKind::kLost) fail("a session was lost");
    });
    for (std::size_t i = 0; i < settings.locks_each; ++i) {
      auto answer = holder.client->lock(name_of(session, i));
      if (!answer.ok()) fail(answer.error().message);
      if (!answer->lock) fail(std::string("not granted: ") + wire::to_string(answer->status));
      holder.locks.push_back(std::move(*answer->lock));
    }
  });
}

void await_fresh_grant(Client& stranger) {
  auto answer = stranger.lock("fresh", {.wait_ns = 120 * kSecond});
  if (!answer.ok()) fail(answer.error().message);
  if (!answer->lock) fail(std::string("no fresh grant: ") + wire::to_string(answer->status));
  say("fresh");
}

int storm(const Settings& settings) {
  std::atomic<std::size_t> reclaimed{0};
  std::vector<Holder> holders(settings.sessions);
  take_all(settings, holders, reclaimed);
  say("holding " + std::to_string(settings.sessions * settings.locks_each));
  while (reclaimed < settings.sessions) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  say("reclaimed " + std::to_string(reclaimed) + " of " + std::to_string(settings.sessions));
  const auto stranger = connect(settings, {});
  await_fresh_grant(*stranger);

  std::atomic<std::size_t> lost{0};
  std::atomic<std::size_t> doubles{0};
  spread(settings.sessions, [&](std::size_t session) {
    const Holder& holder = holders[session];
    for (std::size_t i = 0; i < holder.locks.size(); ++i) {
      const Result<wire::Reply> seen = holder.client->query(name_of(session, i));
      if (!seen.ok()) fail(seen.error().message);
      if (!holder.locks[i].still_held() || seen->holders == 0) ++lost;
      if (seen->holders > 1 || (seen->holders == 1 && seen->token != holder.locks[i].token())) {
        ++doubles;
      }
    }
  });
  say("checked " + std::to_string(settings.sessions * settings.locks_each) + " lost " +
      std::to_string(lost) + " double " + std::to_string(doubles));
  std::_Exit(lost == 0 && doubles == 0 ? 0 : 1);  // the node is about to go anyway
}

}  // namespace
}  // namespace driftlock

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: restart_storm SERVER KEY_FILE SESSIONS LOCKS_EACH\n");
    return 2;
  }
  const auto keys = driftlock::load_key_file(argv[2]);
  if (!keys.ok()) {
    std::fprintf(stderr, "%s\n", keys.error().message.c_str());
    return 1;
  }
  return driftlock::storm({argv[1], keys.value().front(),
                           static_cast<std::size_t>(std::atoi(argv[3])),
                           static_cast<std::size_t>(std::atoi(argv[4]))});
}
