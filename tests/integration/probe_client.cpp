// The client of the probe's test: sends what the test is about to the echo in probe_test.py, and
// prints what it measured itself. usage: probe_client FIRST_NUMBER
#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "src/lock/wire.hpp"

namespace {

using driftlock::wire::Header;
using driftlock::wire::Kind;
using driftlock::wire::Op;
namespace wire = driftlock::wire;

// What the echo does, in the low bits of the nonce; see probe_test.py.
enum Behaviour : std::uint64_t { kAnswer, kIgnore, kRefuse, kPushAsWell, kAnswerTwice };
constexpr int kBehaviourBits = 3;
constexpr std::uint64_t kSession = 0xD0C50001;

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

// One record, of operation acquire; not signed, the probe does not look at the MAC.
std::array<std::uint8_t, wire::kDatagramBytesMin> datagram(Kind kind, std::uint64_t nonce) {
  std::array<std::uint8_t, wire::kDatagramBytesMin> bytes{};
  Header header;
  header.kind = kind;
  header.length = bytes.size();
  header.session_id = kSession;
  header.nonce = nonce;
  header.op_count = 1;
  wire::store(bytes.data(), header);
  wire::store(wire::record(bytes.data(), 0), Op::kAcquire);
  return bytes;
}

class Asker {
 public:
  explicit Asker(std::uint64_t first) : number_(first) {
    sockaddr_in own{};
    own.sin_family = AF_INET;
    inet_pton(AF_INET, "10.77.0.2", &own.sin_addr);
    sockaddr_in node = own;
    inet_pton(AF_INET, "10.77.0.1", &node.sin_addr);
    node.sin_port = htons(wire::kDefaultPort);
    if (bind(socket_, reinterpret_cast<sockaddr*>(&own), sizeof(own)) != 0) fail("bind");
    if (connect(socket_, reinterpret_cast<sockaddr*>(&node), sizeof(node)) != 0) fail("connect");
  }
  ~Asker() { close(socket_); }
  Asker(const Asker&) = delete;
  Asker& operator=(const Asker&) = delete;

  void ask(Behaviour behaviour, int times, int sendings = 1) {
    for (int i = 0; i < times; ++i) ask_once(behaviour, sendings);
  }
  void send_bytes(const void* bytes, std::size_t size) {
    if (send(socket_, bytes, size, 0) < 0) fail("send");
  }
  // Whatever is still under way, until nothing has come for a while.
  void drain() {
    std::array<std::uint8_t, 2048> bytes{};
    pollfd waiting{socket_, POLLIN, 0};
    while (poll(&waiting, 1, 200) > 0 && recv(socket_, bytes.data(), bytes.size(), 0) >= 0) {
    }
  }
  void print() const {
    sockaddr_in own{};
    socklen_t size = sizeof(own);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&own), &size);
    std::printf("{\"port\": %u, \"latencies\": [", ntohs(own.sin_port));
    for (std::size_t i = 0; i < latencies_.size(); ++i) {
      std::printf("%s%lld", i == 0 ? "" : ", ", static_cast<long long>(latencies_[i]));
    }
    std::puts("]}");
  }

 private:
  void ask_once(Behaviour behaviour, int sendings) {
    const std::uint64_t nonce = number_++ << kBehaviourBits | behaviour;
    const auto bytes = datagram(Kind::kRequest, nonce);
    const std::int64_t started_ns = now_ns();
    for (int i = 0; i < sendings; ++i) send_bytes(bytes.data(), bytes.size());
    if (behaviour == kIgnore) return;
    std::array<std::uint8_t, 2048> reply{};
    // It looks without pause: being woken up takes a busy machine longer than the network takes.
    while (now_ns() - started_ns < 5'000'000'000) {
      if (recv(socket_, reply.data(), reply.size(), MSG_DONTWAIT) < 0) continue;
      const std::int64_t ended_ns = now_ns();
      const auto header = wire::load<Header>(reply.data());
      if (header.kind == Kind::kPush || header.nonce != nonce) continue;
      latencies_.push_back(ended_ns - started_ns);
      return;
    }
    fail("recv");
  }

  const int socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  std::uint64_t number_;
  std::vector<std::int64_t> latencies_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: probe_client FIRST_NUMBER\n", stderr);
    return 2;
  }
  // Before ordinary programs: what a busy machine takes from the client after the reply has arrived
  // is no latency of the network's.
  const sched_param first{.sched_priority = 10};
  if (sched_setscheduler(0, SCHED_FIFO, &first) != 0) fail("SCHED_FIFO");
  Asker asker(std::strtoull(argv[1], nullptr, 10));
  asker.ask(kAnswer, 300);
  asker.ask(kAnswer, 10, 3);
  asker.ask(kRefuse, 5);
  asker.ask(kPushAsWell, 4);
  asker.ask(kAnswerTwice, 3);
  asker.ask(kIgnore, 7);
  const std::string cut = "DLK1 but no more of it";
  asker.send_bytes(cut.data(), cut.size());
  const auto wrong_way = datagram(Kind::kReply, 1);
  asker.send_bytes(wrong_way.data(), wrong_way.size());
  asker.drain();
  asker.print();
  return 0;
}
