// What a packet costs the eBPF probe, by the kernel itself: BPF_PROG_TEST_RUN over requests and
// replies of 64 clients (bpf/probe_cost.bpf.c), alternating with programs that do all but the
// probing, whose time is taken off. The same again by bpf_stats, which adds its own cost to both.
// Needs root; exit 77 where BPF cannot be used.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "bpf/lock_probe.h"
#include "probe_cost.skel.h"
#include "src/lock/wire.hpp"

namespace {

namespace wire = driftlock::wire;
constexpr std::uint32_t kRepeat = 20000;
constexpr int kRounds = 51;
constexpr std::size_t kHeaders = 14 + 20 + 8;

// A request over Ethernet, IPv4 and UDP; the programs make it the next request or reply.
std::vector<std::uint8_t> packet(std::uint8_t protocol) {
  std::vector<std::uint8_t> bytes(kHeaders + wire::kDatagramBytesMin);
  bytes[12] = 0x08;  // IPv4
  bytes[14] = 0x45;
  bytes[16] = static_cast<std::uint8_t>((bytes.size() - 14) >> 8);
  bytes[17] = static_cast<std::uint8_t>(bytes.size() - 14);
  bytes[22] = 64;
  bytes[23] = protocol;
  for (const std::size_t at : {std::size_t{34}, std::size_t{36}}) {
    bytes[at] = wire::kDefaultPort >> 8;
    bytes[at + 1] = wire::kDefaultPort & 0xFF;
  }
  const std::size_t udp = 8 + wire::kDatagramBytesMin;
  bytes[38] = static_cast<std::uint8_t>(udp >> 8);
  bytes[39] = static_cast<std::uint8_t>(udp);
  wire::Header header;
  header.length = wire::kDatagramBytesMin;
  header.session_id = 7;
  header.op_count = 1;
  wire::store(bytes.data() + kHeaders, header);
  wire::store(bytes.data() + kHeaders + sizeof(header), wire::Op::kAcquire);
  return bytes;
}

struct Timed {
  const char* name;
  const bpf_program* program;
  const std::vector<std::uint8_t>* packet;
  std::vector<double> rounds_ns{};

  [[nodiscard]] bool run() {
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = packet->data();
    options.data_size_in = static_cast<std::uint32_t>(packet->size());
    options.repeat = kRepeat;
    if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) != 0) return false;
    rounds_ns.push_back(options.duration);
    return true;
  }
  [[nodiscard]] double stats_ns() const {
    bpf_prog_info info{};
    std::uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) != 0) return 0.0;
    if (info.run_cnt == 0) return 0.0;
    return static_cast<double>(info.run_time_ns) / static_cast<double>(info.run_cnt);
  }
  [[nodiscard]] double quantile_ns(double q) const {
    std::vector<double> sorted = rounds_ns;
    std::sort(sorted.begin(), sorted.end());
    return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))];
  }
};

void print(const char* what, const Timed& whole, const Timed& rest) {
  std::vector<double> net;
  for (std::size_t i = 0; i < whole.rounds_ns.size(); ++i) {
    net.push_back(whole.rounds_ns[i] - rest.rounds_ns[i]);
  }
  std::sort(net.begin(), net.end());
  const auto at = [&net](double q) {
    return net[static_cast<std::size_t>(q * static_cast<double>(net.size() - 1))];
  };
  std::printf("%-28s %4.0f ns a packet (p25 %.0f, p75 %.0f): %s %.0f less %s %.0f\n", what, at(0.5),
              at(0.25), at(0.75), whole.name, whole.quantile_ns(0.5), rest.name,
              rest.quantile_ns(0.5));
}

// That what was timed is what happens: every reply found its request.
void print_counts(const probe_cost_bpf& skeleton) {
  std::vector<probe_counters> each(static_cast<std::size_t>(libbpf_num_possible_cpus()));
  const std::uint32_t zero = 0;
  if (bpf_map_lookup_elem(bpf_map__fd(skeleton.maps.counters), &zero, each.data()) != 0) return;
  probe_counters sum{};
  for (const probe_counters& one : each) {
    sum.requests += one.requests;
    sum.replies += one.replies;
    sum.repeats += one.repeats;
    sum.unmatched += one.unmatched;
    sum.events += one.events;
    sum.events_lost += one.events_lost;
  }
  std::printf(
      "requests %llu, repeats %llu, replies %llu, unmatched %llu, sampled %llu\n",
      static_cast<unsigned long long>(sum.requests), static_cast<unsigned long long>(sum.repeats),
      static_cast<unsigned long long>(sum.replies), static_cast<unsigned long long>(sum.unmatched),
      static_cast<unsigned long long>(sum.events + sum.events_lost));
}

int measure(probe_cost_bpf& skeleton) {
  const std::vector<std::uint8_t> lock = packet(17);
  const std::vector<std::uint8_t> other = packet(6);
  std::array<Timed, 6> runs = {{{"cost_empty", skeleton.progs.cost_empty, &other},
                                {"cost_other", skeleton.progs.cost_other, &other},
                                {"cost_shape", skeleton.progs.cost_shape, &lock},
                                {"cost_tc", skeleton.progs.cost_tc, &lock},
                                {"cost_shape_xdp", skeleton.progs.cost_shape_xdp, &lock},
                                {"cost_xdp", skeleton.progs.cost_xdp, &lock}}};
  for (int round = 0; round < kRounds; ++round) {
    for (Timed& timed : runs) {
      skeleton.bss->turn = static_cast<std::uint64_t>(round) * kRepeat;
      if (!timed.run()) {
        std::perror("BPF_PROG_TEST_RUN");
        return 1;
      }
    }
  }
  print("tc, request or reply", runs[3], runs[2]);
  print("xdp, request or reply", runs[5], runs[4]);
  print("tc, another's packet", runs[1], runs[0]);
  print_counts(skeleton);

  const int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
  if (stats < 0) {
    std::puts("bpf_stats: not to be had here");
    return 0;
  }
  for (int round = 0; round < kRounds; ++round) {
    for (Timed& timed : runs) {
      if (!timed.run()) return 1;
    }
  }
  std::printf("by bpf_stats: cost_tc %.0f ns, cost_shape %.0f ns: %.0f ns a packet\n",
              runs[3].stats_ns(), runs[2].stats_ns(), runs[3].stats_ns() - runs[2].stats_ns());
  close(stats);
  return 0;
}

}  // namespace

int main() {
  libbpf_set_print(nullptr);
  probe_cost_bpf* skeleton = probe_cost_bpf__open();
  if (skeleton == nullptr || probe_cost_bpf__load(skeleton) != 0) {
    std::fprintf(stderr, "SKIP: BPF cannot be used here: %s\n", std::strerror(errno));
    return 77;
  }
  const int result = measure(*skeleton);
  probe_cost_bpf__destroy(skeleton);
  return result;
}
