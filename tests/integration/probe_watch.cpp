// Attaches the lock probe to an interface for a test to ask: each line on standard input is
// answered by one line of JSON, end of input detaches. Exit 77: BPF cannot be used here.
#include <cstdlib>
#include <iostream>
#include <string>

#include "bpf/probe.hpp"

namespace {

using driftlock::Probe;
using driftlock::ProbeClient;

void print_client(const ProbeClient& client) {
  std::cout << "{\"ipv4\":" << client.ipv4 << ",\"udp_port\":" << client.udp_port
            << ",\"session\":" << client.session_id << ",\"node_port\":" << client.node_port
            << ",\"requests\":" << client.counts.requests
            << ",\"repeats\":" << client.counts.repeats << ",\"replies\":" << client.counts.replies
            << ",\"unmatched\":" << client.counts.unmatched
            << ",\"errors\":" << client.counts.errors << ",\"pushes\":" << client.counts.pushes
            << ",\"counted\":" << client.total.count << ",\"recent\":" << client.recent.count
            << ",\"p50_ns\":" << client.total.quantile_ns(0.50)
            << ",\"p99_ns\":" << client.total.quantile_ns(0.99)
            << ",\"sum_ns\":" << client.total.sum_ns << "}";
}

void print_all(Probe& probe) {
  std::size_t events = 0;
  std::size_t tagged = 0;
  probe.take_events([&](const probe_event& event) {
    ++events;
    if (event.clock == PROBE_CLOCK_MONOTONIC && event.latency_ns > 0) ++tagged;
  });
  std::cout.precision(15);
  std::cout << "{\"clients\":[";
  const char* separator = "";
  for (const ProbeClient& client : probe.read_clients()) {
    std::cout << separator;
    print_client(client);
    separator = ",";
  }
  const driftlock::ProbeTotals totals = probe.read_totals();
  const driftlock::ProbeCost cost = probe.read_cost();
  std::cout << "],\"events\":" << events << ",\"events_tagged\":" << tagged
            << ",\"requests\":" << totals.counters.requests
            << ",\"malformed\":" << totals.counters.malformed
            << ",\"flights_added\":" << totals.counters.flights_added
            << ",\"flights_present\":" << totals.flights_present
            << ",\"flights_evicted\":" << totals.counters.flights_evicted
            << ",\"clients_evicted\":" << totals.clients_evicted << ",\"runs\":" << cost.runs
            << ",\"run_time_ns\":" << cost.run_time_ns << "}" << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::cerr << "usage: probe_watch INTERFACE UDP_PORT SAMPLE_EVERY CLIENTS_MAX FLIGHTS_MAX "
                 "tc|xdp\n";
    return 2;
  }
  driftlock::ProbeOptions options;
  options.udp_port = static_cast<std::uint16_t>(std::atoi(argv[2]));
  options.sample_every = static_cast<std::uint32_t>(std::atoi(argv[3]));
  options.clients_max = static_cast<std::uint32_t>(std::atoi(argv[4]));
  options.flights_max = static_cast<std::uint32_t>(std::atoi(argv[5]));
  if (std::string(argv[6]) == "xdp") options.hook = driftlock::ProbeHook::kXdp;
  auto probe = Probe::attach(argv[1], options);
  if (!probe) {
    std::cerr << probe.error().message << "\n";
    return 77;
  }
  std::cout << "{\"ready\":true}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) print_all(**probe);
  return 0;
}
