// lock_node: one lcore's fast path on a port, and nothing else of a node: no clock thread, no
// configuration, no metrics. For tests that look into the engine: it prints its occupancy whenever
// that has changed, at most ten times a second.
//
//   lock_node dpdk VDEV IPV4 UDP_PORT KEY_FILE      lock_node socket IPV4 UDP_PORT KEY_FILE
#include <arpa/inet.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "hw/dpdk_port.hpp"
#include "hw/dpdk_runtime.hpp"
#include "hw/key_file.hpp"
#include "hw/node_clock.hpp"
#include "hw/socket_port.hpp"
#include "hw/table_memory.hpp"
#include "src/lock/fast_path_impl.hpp"
#include "tools/bench/fixed_clock.hpp"

namespace driftlock {
namespace {

std::atomic<bool> stopping{false};

EngineOptions engine_options() {
  EngineOptions options;
  options.sessions = {256, 16};
  options.locks.locks_max = 1U << 14;
  options.locks.claims_max = 1U << 12;
  options.node_secret = {{11, 22, 33, 44}};
  return options;
}

void print_occupancy(const Engine& engine) {
  std::string before;
  while (!stopping) {
    const Engine::Gauges& gauges = engine.gauges();
    const std::string now = "sessions " + std::to_string(gauges.sessions_active.read()) +
                            " locks " + std::to_string(gauges.locks_in_use.read()) + " holders " +
                            std::to_string(gauges.holders.read()) + " waiters " +
                            std::to_string(gauges.waiters.read()) + " expired " +
                            std::to_string(gauges.sessions_expired.read());
    if (now != before) {
      std::puts(now.c_str());
      std::fflush(stdout);
      before = now;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void print_counters(const FastPathCounters& counters) {
  std::printf("received %lu answered %lu errors %lu pushes %lu\n",
              counters.datagrams_received.read(), counters.datagrams_answered.read(),
              counters.errors_sent.read(), counters.pushes_sent.read());
  for (std::size_t reject = 0; reject < wire::kRejectCount; ++reject) {
    if (counters.rejected[reject].read() == 0) continue;
    std::printf("rejected %s %lu\n", to_string(static_cast<wire::Reject>(reject)),
                counters.rejected[reject].read());
  }
  for (std::size_t op = 0; op < wire::kOpCount; ++op) {
    for (std::size_t status = 0; status < wire::kStatusCount; ++status) {
      if (counters.operations[op][status].read() == 0) continue;
      std::printf("operation %s %s %lu\n", to_string(static_cast<wire::Op>(op)),
                  to_string(static_cast<wire::Status>(status)),
                  counters.operations[op][status].read());
    }
  }
}

int fail(const Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

template <Port P>
int serve(P& port, const std::string& key_file) {
  auto keys = load_key_file(key_file);
  if (!keys.ok()) return fail(keys.error());
  const Keyring keyring(std::move(keys).value());
  TableMemory memory;
  Engine engine(engine_options(), keyring, &memory);
  Seqlock<ClockSnapshot> published;
  published.store(bench::fixed_snapshot());
  const NodeClock clock(published);
  NoObserver observer;
  FastPathCounters counters;
  FastPath<P, NodeClock, NoObserver> path(port, clock, engine, observer, counters);
  std::puts("ready");
  std::thread printer([&] { print_occupancy(engine); });
  while (!stopping) {
    if (path.poll() > 0) continue;
    if constexpr (requires { port.wait(kMillisecond); }) {
      static_cast<void>(port.wait(kMillisecond));
    }
  }
  printer.join();
  print_counters(counters);
  std::printf("port received %lu sent %lu send_drops %lu\n", port.counters().received.read(),
              port.counters().sent.read(), port.counters().send_drops.read());
  return 0;
}

std::uint32_t parse_ipv4(const char* text) {
  in_addr address{};
  if (inet_pton(AF_INET, text, &address) != 1) {
    std::fprintf(stderr, "not an IPv4 address: %s\n", text);
    std::exit(2);
  }
  return ntohl(address.s_addr);
}

int run_dpdk(const std::string& vdev, std::uint32_t ipv4, std::uint16_t udp_port,
             const std::string& key_file) {
  auto runtime = DpdkRuntime::start({.vdevs = {vdev}});
  if (!runtime.ok()) return fail(runtime.error());
  auto port = DpdkPort::open(
      {.device = vdev.substr(0, vdev.find(',')), .ipv4 = ipv4, .udp_port = udp_port});
  if (!port.ok()) return fail(port.error());
  const Status registered = DpdkRuntime::register_thread();
  if (!registered.ok()) return fail(registered.error());
  const int code = serve(**port, key_file);
  DpdkRuntime::unregister_thread();
  return code;
}

int run_socket(std::uint32_t ipv4, std::uint16_t udp_port, const std::string& key_file) {
  auto port = SocketPort::open({.ipv4 = ipv4, .udp_port = udp_port});
  if (!port.ok()) return fail(port.error());
  return serve(**port, key_file);
}

int run(int argc, char** argv) {
  const std::string kind = argc > 1 ? argv[1] : "";
  const auto number = [](const char* text) {
    return static_cast<std::uint16_t>(std::strtoul(text, nullptr, 10));
  };
  if (kind == "dpdk" && argc == 6) {
    return run_dpdk(argv[2], parse_ipv4(argv[3]), number(argv[4]), argv[5]);
  }
  if (kind == "socket" && argc == 5) {
    return run_socket(parse_ipv4(argv[2]), number(argv[3]), argv[4]);
  }
  std::fprintf(stderr,
               "usage: lock_node dpdk VDEV IPV4 UDP_PORT KEY_FILE | lock_node socket IPV4 "
               "UDP_PORT KEY_FILE\n");
  return 2;
}

}  // namespace
}  // namespace driftlock

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { driftlock::stopping = true; });
  std::signal(SIGINT, [](int) { driftlock::stopping = true; });
  return driftlock::run(argc, argv);
}
