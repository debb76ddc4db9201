// port_echo: answers every UDP datagram with itself, over the port named on the command line; what
// the port smoke test talks to. Says "ready" when it does, and its counters when it is told to end
// (SIGTERM, SIGINT).
//
//   port_echo dpdk VDEV IPV4 UDP_PORT      port_echo socket IPV4 UDP_PORT
#include <arpa/inet.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "hw/dpdk_port.hpp"
#include "hw/dpdk_runtime.hpp"
#include "hw/socket_port.hpp"

namespace driftlock {
namespace {

volatile std::sig_atomic_t stopping = 0;

template <Port P>
void echo(P& port, bool sleeps) {
  std::array<Datagram, kBurst> burst;
  const char* source = "none";
  while (stopping == 0) {
    const std::size_t count = port.receive(burst);
    if (count == 0) {
      if constexpr (requires { port.wait(kMillisecond); }) {
        if (sleeps) static_cast<void>(port.wait(100 * kMillisecond));
      }
      continue;
    }
    source = to_string(burst[0].stamp.source);
    port.send({burst.data(), count});
  }
  std::printf("received %lu sent %lu send_drops %lu stamp %s\n", port.counters().received.read(),
              port.counters().sent.read(), port.counters().send_drops.read(), source);
}

std::uint32_t parse_ipv4(const char* text) {
  in_addr address{};
  if (inet_pton(AF_INET, text, &address) != 1) {
    std::fprintf(stderr, "not an IPv4 address: %s\n", text);
    std::exit(2);
  }
  return ntohl(address.s_addr);
}

int fail(const Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

void say(const std::vector<std::string>& remarks) {
  for (const std::string& remark : remarks) std::printf("remark: %s\n", remark.c_str());
}

void ready() {
  std::puts("ready");
  std::fflush(stdout);
}

int run_dpdk(const std::string& vdev, std::uint32_t ipv4, std::uint16_t udp_port) {
  auto runtime = DpdkRuntime::start({.vdevs = {vdev}});
  if (!runtime.ok()) return fail(runtime.error());
  say((*runtime)->remarks());
  auto port = DpdkPort::open(
      {.device = vdev.substr(0, vdev.find(',')), .ipv4 = ipv4, .udp_port = udp_port});
  if (!port.ok()) return fail(port.error());
  say((*port)->remarks());
  const Status registered = DpdkRuntime::register_thread();
  if (!registered.ok()) return fail(registered.error());
  ready();
  echo(**port, false);
  const DpdkPortCounters& counters = (*port)->counters();
  std::printf("neighbour_answers %lu device_drops %lu\n", counters.neighbour_answers.read(),
              (*port)->device_drops());
  for (std::size_t i = 0; i < counters.refused.size(); ++i) {
    if (counters.refused[i].read() == 0) continue;
    std::printf("refused %s %lu\n", frame::to_string(static_cast<frame::Refusal>(i)),
                counters.refused[i].read());
  }
  DpdkRuntime::unregister_thread();
  return 0;
}

int run_socket(std::uint32_t ipv4, std::uint16_t udp_port) {
  auto port = SocketPort::open({.ipv4 = ipv4, .udp_port = udp_port});
  if (!port.ok()) return fail(port.error());
  ready();
  echo(**port, true);
  return 0;
}

int run(int argc, char** argv) {
  const std::string kind = argc > 1 ? argv[1] : "";
  const auto number = [](const char* text) {
    return static_cast<std::uint16_t>(std::strtoul(text, nullptr, 10));
  };
  if (kind == "dpdk" && argc == 5) return run_dpdk(argv[2], parse_ipv4(argv[3]), number(argv[4]));
  if (kind == "socket" && argc == 4) return run_socket(parse_ipv4(argv[2]), number(argv[3]));
  std::fprintf(stderr,
               "usage: port_echo dpdk VDEV IPV4 UDP_PORT | port_echo socket IPV4 UDP_PORT\n");
  return 2;
}

}  // namespace
}  // namespace driftlock

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { driftlock::stopping = 1; });
  std::signal(SIGINT, [](int) { driftlock::stopping = 1; });
  return driftlock::run(argc, argv);
}
