// The lock path beside a bare echo over the same port, in one process and one run: a client lcore
// and a server lcore, the server echoing and serving in turn by slices of 10 ms. The client does
// the same work in both (it builds and signs every request). A ratio of two neighbouring slices
// says what the lock path costs, whatever the machine was doing in that second.
//
//   bench_over_port SERVER_VDEV CLIENT_VDEV [OUTSTANDING ...]
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "hw/dpdk_port.hpp"
#include "hw/dpdk_runtime.hpp"
#include "hw/node_clock.hpp"
#include "hw/table_memory.hpp"
#include "src/lock/fast_path_impl.hpp"
#include "tools/bench/fixed_clock.hpp"
#include "tools/bench/lock_load.hpp"

namespace driftlock::bench {
namespace {

constexpr SecretKey kClientKey{{1, 2, 3, 4}};
constexpr std::uint32_t kServerIpv4 = 0x0A630301;  // 10.99.3.1
constexpr std::uint32_t kClientIpv4 = 0x0A630302;
constexpr std::size_t kKeys = 1000;
constexpr int kSlices = 150;  // of each kind
constexpr double kSliceMs = 10.0;
constexpr double kSettleMs = 1.0;  // of each slice, not counted: requests of the one before
constexpr double kLostMs =
    50.0;  // no answer for so long (a core stalls for 20 at times): sent again

enum class Mode : int { kEcho, kLock, kStop };

double ticks_per_ms() {
  return 1e6 / nominal_ns_per_tick();
}

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

// Ticks that the server spent in turns that found something, and on how much. writer: server.
struct Busy {
  Counter ticks;
  Counter requests;
};

// What one slice showed.
struct Slice {
  double answers_per_second = 0.0;
  double server_ticks_per_request = 0.0;
};

class Server {
 public:
  explicit Server(DpdkPort& port)
      : port_(port), keyring_({{1, "bench", kClientKey}}), engine_(options(), keyring_, &memory_) {
    published_.store(fixed_snapshot());
    thread_ = std::thread([this] { run(); });
  }
  ~Server() {
    mode = Mode::kStop;
    thread_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::atomic<Mode> mode{Mode::kLock};
  Busy busy;

 private:
  static EngineOptions options() {
    EngineOptions options;
    options.sessions = {1024, LockLoad::kSlotsPerSession};
    options.node_secret = {{5, 6, 7, 8}};
    return options;
  }

  std::size_t echo() {
    const std::size_t count = port_.receive(burst_);
    if (count > 0) port_.send({burst_.data(), count});
    return count;
  }

  void run() {
    pin_to(1);
    if (!DpdkRuntime::register_thread().ok()) give_up("no lcore left");
    while (mode.load(std::memory_order_relaxed) != Mode::kStop) {
      const Mode now = mode.load(std::memory_order_relaxed);
      const std::uint64_t begin = read_ticks();
      const std::size_t count = now == Mode::kEcho ? echo() : path_.poll();
      if (count == 0) continue;
      busy.ticks.add(read_ticks() - begin);
      busy.requests.add(count);
    }
    DpdkRuntime::unregister_thread();
  }

  DpdkPort& port_;
  Keyring keyring_;
  TableMemory memory_;
  Engine engine_;
  Seqlock<ClockSnapshot> published_;
  NodeClock clock_{published_};
  NoObserver observer_;
  FastPathCounters counters_;
  FastPath<DpdkPort, NodeClock, NoObserver> path_{port_, clock_, engine_, observer_, counters_};
  std::array<Datagram, kBurst> burst_;
  std::thread thread_;
};

class Client {
 public:
  Client(DpdkPort& port, const Endpoint& server, std::size_t outstanding, std::uint64_t seed)
      : port_(port),
        server_(server),
        load_({.lanes = outstanding, .keys = kKeys, .seed = seed, .client_key = kClientKey}),
        sent_ticks_(outstanding) {}

  void open_sessions() {
    while (const std::size_t left = port_.receive(burst_)) {  // from a comparison before
      for (std::size_t i = 0; i < left; ++i) port_.release(burst_[i]);
    }
    for (std::size_t session = 0; session < load_.sessions(); ++session) {
      for (int tries = 0; !load_.is_open(session); ++tries) {
        if (tries == 50) give_up("the server does not answer");
        open(session);
      }
    }
    for (std::size_t lane = 0; lane < load_.lanes(); ++lane) send_new(lane);
  }

  // Until `end`, by the tick counter; returns how many answers came.
  std::uint64_t run_until(std::uint64_t end) {
    std::uint64_t answers = 0;
    std::uint64_t now = read_ticks();
    while (static_cast<std::int64_t>(end - now) > 0) {
      const std::size_t count = port_.receive(burst_);
      now = read_ticks();
      if (count > 0) answers += answer(count, now);
      if (now - checked_ticks_ > static_cast<std::uint64_t>(kLostMs * ticks_per_ms())) {
        send_lost_again(now);
      }
    }
    return answers;
  }

  [[nodiscard]] std::uint64_t lost() const { return lost_; }
  [[nodiscard]] bool filled() const { return load_.filled(); }

 private:
  // One request to open, and whatever comes back within a while.
  void open(std::size_t session) {
    Datagram datagram;
    if (!port_.allocate(datagram)) give_up("no packet buffer");
    datagram.length = static_cast<std::uint16_t>(load_.write_open(session, datagram.payload));
    datagram.peer = server_;
    port_.send({&datagram, 1});
    const std::uint64_t sent = read_ticks();
    while (read_ticks() - sent < static_cast<std::uint64_t>(100 * ticks_per_ms())) {
      if (port_.receive({burst_.data(), 1}) == 0) continue;
      load_.take_open_reply(session, burst_[0].payload, burst_[0].length);
      port_.release(burst_[0]);
      return;
    }
  }

  // Each answer makes way for its lane's next request, in the same buffer.
  std::uint64_t answer(std::size_t count, std::uint64_t now) {
    std::size_t outgoing = 0;
    for (std::size_t i = 0; i < count; ++i) {
      Datagram& datagram = burst_[i];
      const std::size_t lane = load_.take(datagram.payload, datagram.length);
      if (lane == load_.lanes()) {
        port_.release(datagram);  // sent again since
        continue;
      }
      write(lane, datagram, now);
      burst_[outgoing++] = datagram;
    }
    port_.send({burst_.data(), outgoing});
    return outgoing;
  }

  void write(std::size_t lane, Datagram& datagram, std::uint64_t now) {
    datagram.length = static_cast<std::uint16_t>(load_.write_request(lane, datagram.payload));
    datagram.peer = server_;
    sent_ticks_[lane] = now;
  }

  void send_new(std::size_t lane) {
    Datagram datagram;
    if (!port_.allocate(datagram)) give_up("no packet buffer");
    write(lane, datagram, read_ticks());
    port_.send({&datagram, 1});
  }

  void send_lost_again(std::uint64_t now) {
    checked_ticks_ = now;
    for (std::size_t lane = 0; lane < load_.lanes(); ++lane) {
      if (now - sent_ticks_[lane] < static_cast<std::uint64_t>(kLostMs * ticks_per_ms())) continue;
      ++lost_;
      send_new(lane);
    }
  }

  DpdkPort& port_;
  Endpoint server_;
  LockLoad load_;
  std::vector<std::uint64_t> sent_ticks_;
  std::array<Datagram, kBurst> burst_;
  std::uint64_t checked_ticks_ = 0;
  std::uint64_t lost_ = 0;
};

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

Slice run_slice(Server& server, Client& client, Mode mode) {
  server.mode = mode;
  static_cast<void>(
      client.run_until(read_ticks() + static_cast<std::uint64_t>(kSettleMs * ticks_per_ms())));
  const std::uint64_t busy_before = server.busy.ticks.read();
  const std::uint64_t requests_before = server.busy.requests.read();
  const std::uint64_t begin = read_ticks();
  const std::uint64_t answers =
      client.run_until(begin + static_cast<std::uint64_t>((kSliceMs - kSettleMs) * ticks_per_ms()));
  const auto seconds =
      static_cast<double>(read_ticks() - begin) * nominal_ns_per_tick() / double{kSecond};
  const std::uint64_t requests = server.busy.requests.read() - requests_before;
  return {static_cast<double>(answers) / seconds,
          static_cast<double>(server.busy.ticks.read() - busy_before) /
              static_cast<double>(std::max<std::uint64_t>(requests, 1))};
}

void report(std::size_t outstanding, const std::vector<Slice>& echo, const std::vector<Slice>& lock,
            std::uint64_t lost) {
  std::vector<double> echo_rate;
  std::vector<double> lock_rate;
  std::vector<double> ratio;
  std::vector<double> echo_ticks;
  std::vector<double> added_ticks;
  for (std::size_t i = 0; i < echo.size(); ++i) {
    echo_rate.push_back(echo[i].answers_per_second);
    lock_rate.push_back(lock[i].answers_per_second);
    ratio.push_back(lock[i].answers_per_second / std::max(echo[i].answers_per_second, 1.0));
    echo_ticks.push_back(echo[i].server_ticks_per_request);
    added_ticks.push_back(lock[i].server_ticks_per_request - echo[i].server_ticks_per_request);
  }
  const double count = static_cast<double>(outstanding);
  std::printf(
      "outstanding %-4zu echo %8.0f/s (%.2f us)  lock %8.0f/s (%.2f us)  ratio %.3f (p25 %.3f, "
      "p75 %.3f)\n                 server cycles per request: echo %.0f, added %.0f (p25 %.0f, p75 "
      "%.0f);  lost %lu\n",
      outstanding, quantile(echo_rate, 0.5), 1e6 * count / quantile(echo_rate, 0.5),
      quantile(lock_rate, 0.5), 1e6 * count / quantile(lock_rate, 0.5), quantile(ratio, 0.5),
      quantile(ratio, 0.25), quantile(ratio, 0.75), quantile(echo_ticks, 0.5),
      quantile(added_ticks, 0.5), quantile(added_ticks, 0.25), quantile(added_ticks, 0.75), lost);
  std::fflush(stdout);
}

void compare(DpdkPort& server_port, DpdkPort& client_port, std::size_t outstanding) {
  Server server(server_port);
  Client client(client_port, {kServerIpv4, wire::kDefaultPort, server_port.interface().mac},
                outstanding, outstanding);
  client.open_sessions();
  for (int slices = 0; !client.filled(); ++slices) {
    if (slices == 500) give_up("the load does not get under way");
    static_cast<void>(run_slice(server, client, Mode::kLock));
  }
  std::vector<Slice> echo;
  std::vector<Slice> lock;
  for (int i = 0; i < kSlices; ++i) {
    echo.push_back(run_slice(server, client, Mode::kEcho));
    lock.push_back(run_slice(server, client, Mode::kLock));
  }
  report(outstanding, echo, lock, client.lost());
}

std::unique_ptr<DpdkPort> open_port(const std::string& vdev, std::uint32_t ipv4,
                                    std::uint16_t udp_port) {
  auto port = DpdkPort::open(
      {.device = vdev.substr(0, vdev.find(',')), .ipv4 = ipv4, .udp_port = udp_port});
  if (port.ok()) return std::move(port).value();
  std::fprintf(stderr, "%s\n", port.error().message.c_str());
  std::exit(1);
}

int run(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_over_port SERVER_VDEV CLIENT_VDEV [OUTSTANDING ...]\n");
    return 2;
  }
  auto runtime = DpdkRuntime::start({.memory_mib = 128, .vdevs = {argv[1], argv[2]}});
  if (!runtime.ok()) {
    std::fprintf(stderr, "%s\n", runtime.error().message.c_str());
    return 1;
  }
  const auto server_port = open_port(argv[1], kServerIpv4, wire::kDefaultPort);
  const auto client_port = open_port(argv[2], kClientIpv4, 40000);
  pin_to(0);
  if (!DpdkRuntime::register_thread().ok()) give_up("no lcore left");
  std::vector<std::size_t> outstanding;
  for (int i = 3; i < argc; ++i) outstanding.push_back(std::strtoull(argv[i], nullptr, 10));
  if (outstanding.empty()) outstanding = {1, 32};
  for (const std::size_t count : outstanding) compare(*server_port, *client_port, count);
  DpdkRuntime::unregister_thread();
  return 0;
}

}  // namespace
}  // namespace driftlock::bench

int main(int argc, char** argv) {
  return driftlock::bench::run(argc, argv);
}
