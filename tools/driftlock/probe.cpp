// `driftlock probe`: the eBPF probe on a client's host. At each interval it prints what the clients
// of this host waited for their answers, and tells each node of its sessions by the protocol, from
// a session of its own with that node.
#include "bpf/probe.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "hw/key_file.hpp"
#include "hw/udp_transport.hpp"
#include "tools/driftlock/hold.hpp"

namespace driftlock::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kNodesMax = 64;  // whoever sends packets cannot make it open more sessions
constexpr Nanoseconds kTryAgainNs = 10 * kSecond;

std::string endpoint_text(std::uint32_t ipv4, std::uint16_t port) {
  std::array<char, INET_ADDRSTRLEN> text{};
  const in_addr address{htonl(ipv4)};
  inet_ntop(AF_INET, &address, text.data(), text.size());
  return std::string(text.data()) + ":" + std::to_string(port);
}

Nanoseconds monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

// writer: the clients' threads; reader: main.
struct Answers {
  std::atomic<std::uint64_t> taken{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> unanswered{0};
};

wire::ProbeReport report_of(const ProbeClient& client, Nanoseconds span_ns) {
  const auto u32 = [](std::uint64_t count) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(count, 0xFFFFFFFF));
  };
  wire::ProbeReport report;
  report.clock = client.clock;
  report.session_id = client.session_id;
  report.span_ns = static_cast<std::uint64_t>(span_ns);
  report.requests = u32(client.recent_counts.requests);
  report.replies = u32(client.recent_counts.replies);
  report.repeats = u32(client.recent_counts.repeats);
  report.unmatched = u32(client.recent_counts.unmatched);
  report.errors = u32(client.recent_counts.errors);
  report.pushes = u32(client.recent_counts.pushes);
  report.p50_ns = static_cast<std::uint64_t>(client.recent.quantile_ns(0.5));
  report.p99_ns = static_cast<std::uint64_t>(client.recent.quantile_ns(0.99));
  report.sum_ns = static_cast<std::uint64_t>(client.recent.sum_ns);
  return report;
}

// Sessions with the nodes that this host's clients talk to.
class Reporters {
 public:
  Reporters(const Settings& settings, ClientKey key) : settings_(settings), key_(std::move(key)) {}

  void tell(const ProbeClient& client, Nanoseconds span_ns) {
    Client* node = session_with(endpoint_text(client.node_ipv4, client.node_port));
    if (node == nullptr) {
      ++answers_->unanswered;
      return;
    }
    client::Operation operation;
    operation.op = wire::Op::kProbeReport;
    operation.report = report_of(client, span_ns);
    operation.patience_ns = kSecond;
    node->start(operation,
                [answers = answers_](client::OperationId, const Result<client::Completion>& got) {
                  auto& count = !got.ok()                                ? answers->unanswered
                                : got->reply.status == wire::Status::kOk ? answers->taken
                                                                         : answers->refused;
                  ++count;
                });
  }
  // The probe sees its own reports, too.
  [[nodiscard]] bool own(std::uint64_t session_id) const {
    return std::any_of(nodes_.begin(), nodes_.end(), [session_id](const auto& node) {
      return node.second.client && node.second.client->session_id() == session_id;
    });
  }
  [[nodiscard]] const Answers& answers() const { return *answers_; }
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

 private:
  struct Node {
    std::unique_ptr<Client> client;
    Nanoseconds try_at_ns = 0;
  };

  Client* session_with(const std::string& endpoint) {
    if (nodes_.size() >= kNodesMax && nodes_.count(endpoint) == 0) return nullptr;
    Node& node = nodes_[endpoint];
    if (node.client || monotonic_ns() < node.try_at_ns) return node.client.get();
    node.try_at_ns = monotonic_ns() + kTryAgainNs;
    ClientOptions options;
    options.session.client_id = key_.id;
    options.session.client_key = key_.key;
    options.session.slots = 16;
    options.patience_ns = std::min<Nanoseconds>(settings_.timeout_ns, kSecond);
    Result<std::unique_ptr<Client>> client = connect_udp(endpoint, std::move(options));
    if (client.ok()) {
      node.client = std::move(client).value();
    } else {
      trouble_ = client.error().message;
    }
    return node.client.get();
  }

  const Settings& settings_;
  const ClientKey key_;
  const std::shared_ptr<Answers> answers_ = std::make_shared<Answers>();
  std::map<std::string, Node> nodes_;
  std::string trouble_;
};

json describe(const ProbeClient& client) {
  return {{"client", endpoint_text(client.ipv4, client.udp_port)},
          {"node", endpoint_text(client.node_ipv4, client.node_port)},
          {"session_id", client.session_id},
          {"requests", client.recent_counts.requests},
          {"replies", client.recent_counts.replies},
          {"repeats", client.recent_counts.repeats},
          {"unmatched", client.recent_counts.unmatched},
          {"p50_ns", client.recent.quantile_ns(0.5)},
          {"p99_ns", client.recent.quantile_ns(0.99)},
          {"clock", "monotonic"}};
}

void print(const Report& report, const std::vector<ProbeClient>& clients, const ProbeTotals& totals,
           const Reporters* reporters) {
  json list = json::array();
  std::string lines;
  for (const ProbeClient& client : clients) {
    list.push_back(describe(client));
    lines += "\n  " + endpoint_text(client.ipv4, client.udp_port) + " -> " +
             endpoint_text(client.node_ipv4, client.node_port) + "  session " +
             std::to_string(client.session_id) + "  requests " +
             std::to_string(client.recent_counts.requests) + "  answered " +
             std::to_string(client.recent_counts.replies) + "  p50 " +
             format_duration(static_cast<Nanoseconds>(client.recent.quantile_ns(0.5))) + "  p99 " +
             format_duration(static_cast<Nanoseconds>(client.recent.quantile_ns(0.99)));
  }
  json object{{"clients", list},
              {"flights_evicted", totals.counters.flights_evicted},
              {"clients_evicted", totals.clients_evicted},
              {"malformed", totals.counters.malformed},
              {"events_lost", totals.counters.events_lost}};
  std::string head = std::to_string(clients.size()) + " clients  evicted " +
                     std::to_string(totals.counters.flights_evicted) + " requests, " +
                     std::to_string(totals.clients_evicted) + " clients";
  if (reporters != nullptr) {
    const Answers& answers = reporters->answers();
    object["reports"] = {{"taken", answers.taken.load()},
                         {"refused", answers.refused.load()},
                         {"unanswered", answers.unanswered.load()}};
    head += "  reports taken " + std::to_string(answers.taken) + ", refused " +
            std::to_string(answers.refused) + ", unanswered " + std::to_string(answers.unanswered);
    if (!reporters->trouble().empty()) object["trouble"] = reporters->trouble();
  }
  report.result(object, head + lines);
}

Result<ProbeOptions> probe_options(const Settings& settings) {
  const std::size_t dash = settings.ports.find('-');
  const int first = std::atoi(settings.ports.c_str());
  const int last = dash == std::string::npos ? first : std::atoi(settings.ports.c_str() + dash + 1);
  if (first < 1 || last < first || last > 65535) {
    return Error{"--ports " + settings.ports + ": FIRST or FIRST-LAST, of 1 to 65535"};
  }
  ProbeOptions options;
  options.hook = settings.hook == "xdp" ? ProbeHook::kXdp : ProbeHook::kTc;
  options.udp_port = static_cast<std::uint16_t>(first);
  options.udp_ports = static_cast<std::uint16_t>(last - first + 1);
  options.sample_every = 0;
  return options;
}

void watch(const Settings& settings, const Report& report, Probe& probe, Reporters* reporters,
           Signals& signals) {
  Nanoseconds since_ns = monotonic_ns();
  for (std::uint32_t round = 0; settings.rounds == 0 || round < settings.rounds; ++round) {
    for (;;) {
      const Nanoseconds left_ns = since_ns + settings.interval_ns - monotonic_ns();
      if (left_ns <= 0) break;
      const auto signal = signals.wait(left_ns);
      if (signal && ends_program(signal->number)) return;
    }
    const Nanoseconds now_ns = monotonic_ns();
    std::vector<ProbeClient> clients = probe.read_clients();
    std::erase_if(clients, [reporters](const ProbeClient& client) {
      const bool silent = client.recent_counts.requests == 0 && client.recent_counts.replies == 0;
      return client.session_id == 0 || silent ||
             (reporters != nullptr && reporters->own(client.session_id));
    });
    // A node that nobody has heard of is not asked for a session.
    for (const ProbeClient& client : clients) {
      if (reporters != nullptr && client.counts.replies > 0) {
        reporters->tell(client, now_ns - since_ns);
      }
    }
    print(report, clients, probe.read_totals(), reporters);
    since_ns = now_ns;
  }
}

}  // namespace

int probe_command(const Settings& settings, const Report& report) {
  Signals signals;  // before there are threads
  const Result<ProbeOptions> options = probe_options(settings);
  if (!options.ok()) return report.fail(kExitUsage, "usage", options.error().message);
  std::unique_ptr<Reporters> reporters;
  if (!settings.watch_only) {
    Result<ClientKey> key = load_client_key(settings.key_file, settings.client_id);
    if (!key.ok()) {
      return report.fail(kExitUsage, "configuration",
                         key.error().message + " (--watch-only reports to nobody)");
    }
    reporters = std::make_unique<Reporters>(settings, std::move(key).value());
  }
  Result<std::unique_ptr<Probe>> probe = Probe::attach(settings.interface, options.value());
  if (!probe.ok()) return report.fail(kExitUsage, "probe", probe.error().message);
  report.note("watching " + settings.interface + " by " + to_string((*probe)->hook()));
  watch(settings, report, **probe, reporters.get(), signals);
  return kExitOk;
}

}  // namespace driftlock::cli
