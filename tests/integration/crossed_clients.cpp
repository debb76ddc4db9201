// crossed_clients: two clients that each hold one lock and wait for the other's, for as long as the
// test wants to look at them. Prints "crossed" once both wait; ends on SIGTERM without giving
// anything back.
//
//   crossed_clients SERVER KEY_FILE
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "hw/key_file.hpp"
#include "hw/udp_transport.hpp"
#include "src/client/client.hpp"

namespace driftlock {
namespace {

constexpr std::array<const char*, 2> kKeys{"left", "right"};

int cross(const std::string& server, const std::string& key_file) {
  const auto keys = load_key_file(key_file);
  if (!keys.ok()) return std::fprintf(stderr, "%s\n", keys.error().message.c_str()), 1;
  std::array<std::unique_ptr<Client>, 2> clients;
  std::array<Lock, 2> held;
  for (std::size_t i = 0; i < clients.size(); ++i) {
    ClientOptions options;
    options.session.client_id = keys->front().id;
    options.session.client_key = keys->front().key;
    auto client = connect_udp(server, options);
    if (!client.ok()) return std::fprintf(stderr, "%s\n", client.error().message.c_str()), 1;
    clients[i] = std::move(*client);
    auto answer = clients[i]->lock(kKeys[i]);
    if (!answer.ok() || !answer->lock) return std::fprintf(stderr, "%s is not free\n", kKeys[i]), 1;
    held[i] = std::move(*answer->lock);
  }
  for (std::size_t i = 0; i < clients.size(); ++i) {
    client::Operation wish;
    wish.op = wire::Op::kAcquire;
    wish.name = client::LockName(0, kKeys[1 - i]);
    wish.wait_ns = 60 * kSecond;
    clients[i]->start(wish, [](client::OperationId, Result<client::Completion>) {});
  }
  std::puts("crossed");
  std::fflush(stdout);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  int number = 0;
  sigwait(&signals, &number);
  std::_Exit(0);  // as a client that dies: the node finds out by itself
}

}  // namespace
}  // namespace driftlock

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: crossed_clients SERVER KEY_FILE\n");
    return 2;
  }
  // Before any thread is made, so that all of them leave it to sigwait().
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return driftlock::cross(argv[1], argv[2]);
}
