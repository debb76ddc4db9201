#include "bpf/probe.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "lock_probe.skel.h"

namespace driftlock {
namespace {

// A place in the interface's list of filters that is ours: a probe left behind by a daemon that was
// killed is replaced by the next one on that port, not joined by it.
constexpr std::uint32_t kFilterPriority = 47800;

Error failed(const std::string& what, int error) {
  std::string advice;
  if (error == EPERM || error == EACCES) {
    advice = "; run as root or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN";
  } else if (error == ENODEV || error == ENXIO) {
    advice = "; see the interfaces with `ip link`";
  }
  return Error{"probe: " + what + ": " + std::strerror(error) + advice};
}

bool is_loopback(const std::string& interface) {
  constexpr int kLoopbackType = 772;  // ARPHRD_LOOPBACK
  const std::string path = "/sys/class/net/" + interface + "/type";
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return false;
  int type = 0;
  const bool read = std::fscanf(file, "%d", &type) == 1;
  std::fclose(file);
  return read && type == kLoopbackType;
}

std::uint64_t packed(const probe_client_key& key) {
  return (std::uint64_t{key.ipv4} << 16) | key.udp_port;
}

// Keys present in a hash map. A map that changes under the walk may end it early: bounded by
// `limit`.
template <typename Key>
std::vector<Key> keys_of(int map, std::size_t limit) {
  std::vector<Key> keys;
  Key key{};
  int error = bpf_map_get_next_key(map, nullptr, &key);
  while (error == 0 && keys.size() < limit) {
    keys.push_back(key);
    error = bpf_map_get_next_key(map, &keys.back(), &key);
  }
  return keys;
}

}  // namespace

double ProbeHistogram::quantile_ns(double quantile) const {
  if (count == 0) return 0.0;
  const double rank = quantile * static_cast<double>(count);
  double below = 0.0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    const double inside = buckets[i];
    if (inside == 0.0 || below + inside < rank) {
      below += inside;
      continue;
    }
    const auto power = static_cast<int>(i / PROBE_SUB_BUCKETS) + PROBE_FIRST_POWER;
    const double width = static_cast<double>(std::uint64_t{1} << (power - PROBE_SUB_BITS));
    const double lower = static_cast<double>(std::uint64_t{1} << power) +
                         static_cast<double>(i % PROBE_SUB_BUCKETS) * width;
    return lower + width * (rank - below) / inside;
  }
  return static_cast<double>(std::uint64_t{1} << (PROBE_FIRST_POWER + PROBE_POWERS));
}

void ProbeHistogram::add(const ProbeHistogram& other) {
  count += other.count;
  sum_ns += other.sum_ns;
  for (std::size_t i = 0; i < buckets.size(); ++i) buckets[i] += other.buckets[i];
}

Probe::Probe(std::string interface, int interface_index, lock_probe_bpf* skeleton)
    : interface_(std::move(interface)), interface_index_(interface_index), skeleton_(skeleton) {}

Probe::~Probe() {
  detach_filters();
  ring_buffer__free(ring_);
  lock_probe_bpf__destroy(skeleton_);
}

Result<std::unique_ptr<Probe>> Probe::attach(const std::string& interface,
                                             const ProbeOptions& options) {
  const unsigned index = if_nametoindex(interface.c_str());
  if (index == 0) return failed("interface '" + interface + "'", errno);
  libbpf_set_print(nullptr);
  lock_probe_bpf* skeleton = lock_probe_bpf__open();
  if (skeleton == nullptr) return failed("opening the BPF object", errno);
  std::unique_ptr<Probe> probe(new Probe(interface, static_cast<int>(index), skeleton));
  if (Status loaded = probe->load(options); !loaded) return loaded.error();
  if (Status attached = probe->attach_filters(options.udp_port); !attached) {
    return attached.error();
  }
  return probe;
}

Status Probe::load(const ProbeOptions& options) {
  skeleton_->rodata->udp_port = options.udp_port;
  skeleton_->rodata->sample_every = options.sample_every;
  int error = bpf_map__set_max_entries(skeleton_->maps.clients, options.clients_max);
  if (error == 0) {
    error = bpf_map__set_max_entries(skeleton_->maps.flights, options.flights_max);
  }
  if (error != 0) return failed("sizing the maps", -error);
  if (error = lock_probe_bpf__load(skeleton_); error != 0) {
    return failed("loading the BPF program (a kernel with BTF is needed)", -error);
  }
  const auto forward = [](void* context, void* data, std::size_t size) {
    probe_event event{};
    if (size < sizeof(event)) return 0;
    std::memcpy(&event, data, sizeof(event));
    static_cast<Probe*>(context)->take_(event);
    return 0;
  };
  ring_ = ring_buffer__new(bpf_map__fd(skeleton_->maps.events), forward, this, nullptr);
  if (ring_ == nullptr) return failed("opening the event ring", errno);
  return done();
}

Status Probe::attach_filters(std::uint16_t udp_port) {
  DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook);
  hook.ifindex = interface_index_;
  hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  const int error = bpf_tc_hook_create(&hook);
  if (error != 0 && error != -EEXIST) {
    return failed("adding clsact to '" + interface_ + "'", -error);
  }
  made_hook_ = error == 0;
  if (!is_loopback(interface_)) {
    if (Status ingress = attach_filter(BPF_TC_INGRESS, udp_port); !ingress) return ingress;
  }
  return attach_filter(BPF_TC_EGRESS, udp_port);
}

Status Probe::attach_filter(int point, std::uint16_t udp_port) {
  DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook);
  hook.ifindex = interface_index_;
  hook.attach_point = static_cast<bpf_tc_attach_point>(point);
  DECLARE_LIBBPF_OPTS(bpf_tc_opts, options);
  options.prog_fd = bpf_program__fd(skeleton_->progs.lock_probe);
  options.handle = udp_port;
  options.priority = kFilterPriority;
  options.flags = BPF_TC_F_REPLACE;
  if (const int error = bpf_tc_attach(&hook, &options); error != 0) {
    return failed("attaching to '" + interface_ + "'", -error);
  }
  attached_.push_back({point, options.handle, options.priority});
  return done();
}

void Probe::detach_filters() {
  for (const Attachment& attachment : attached_) {
    DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook);
    hook.ifindex = interface_index_;
    hook.attach_point = static_cast<bpf_tc_attach_point>(attachment.point);
    DECLARE_LIBBPF_OPTS(bpf_tc_opts, options);
    options.handle = attachment.handle;
    options.priority = attachment.priority;
    bpf_tc_detach(&hook, &options);
  }
  attached_.clear();
  if (!made_hook_) return;
  DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook);
  hook.ifindex = interface_index_;
  hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  bpf_tc_hook_destroy(&hook);
  made_hook_ = false;
}

ProbeClient Probe::describe(const probe_client_key& key, const probe_client& value,
                            const LastReading& last) {
  ProbeClient client;
  client.ipv4 = key.ipv4;
  client.udp_port = key.udp_port;
  client.session_id = value.session_id;
  client.requests = value.requests;
  client.repeats = value.repeats;
  client.replies = value.replies;
  client.unmatched = value.unmatched;
  client.errors = value.errors;
  client.pushes = value.pushes;
  client.recent_requests = value.requests - last.requests;
  client.last_request_ns = value.last_request_ns;
  client.last_reply_ns = value.last_reply_ns;
  client.total.sum_ns = static_cast<double>(value.latency_sum_ns);
  client.recent.sum_ns = static_cast<double>(value.latency_sum_ns - last.latency_sum_ns);
  for (std::size_t i = 0; i < PROBE_BUCKETS; ++i) {
    client.total.buckets[i] = value.buckets[i];
    client.total.count += value.buckets[i];
    client.recent.buckets[i] = value.buckets[i] - last.buckets[i];
    client.recent.count += client.recent.buckets[i];
  }
  return client;
}

std::vector<ProbeClient> Probe::read_clients() {
  const int map = bpf_map__fd(skeleton_->maps.clients);
  const std::size_t limit = bpf_map__max_entries(skeleton_->maps.clients);
  std::vector<ProbeClient> clients;
  std::unordered_map<std::uint64_t, LastReading> readings;
  probe_client value{};
  for (const probe_client_key& key : keys_of<probe_client_key>(map, limit)) {
    if (bpf_map_lookup_elem(map, &key, &value) != 0) continue;  // evicted meanwhile
    LastReading last;
    if (const auto found = last_.find(packed(key)); found != last_.end()) last = found->second;
    // A client that was evicted and is back counts from nothing again.
    if (value.requests < last.requests || value.replies < last.replies) last = LastReading{};
    clients.push_back(describe(key, value, last));
    readings[packed(key)] = {value.requests, value.replies, value.latency_sum_ns,
                             clients.back().total.buckets};
  }
  last_ = std::move(readings);
  return clients;
}

ProbeTotals Probe::read_totals() const {
  ProbeTotals totals;
  const int processors = libbpf_num_possible_cpus();
  if (processors <= 0) return totals;
  std::vector<probe_counters> per_processor(static_cast<std::size_t>(processors));
  const std::uint32_t zero = 0;
  if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.counters), &zero, per_processor.data()) !=
      0) {
    return totals;
  }
  // Every field is a uint64_t count.
  constexpr std::size_t kFields = sizeof(probe_counters) / sizeof(std::uint64_t);
  std::uint64_t sums[kFields] = {};
  for (const probe_counters& one : per_processor) {
    std::uint64_t fields[kFields];
    std::memcpy(fields, &one, sizeof(fields));
    for (std::size_t i = 0; i < kFields; ++i) sums[i] += fields[i];
  }
  std::memcpy(&totals.counters, sums, sizeof(sums));
  totals.flights_present = keys_of<probe_flight_key>(bpf_map__fd(skeleton_->maps.flights),
                                                     bpf_map__max_entries(skeleton_->maps.flights))
                               .size();
  totals.clients_present = keys_of<probe_client_key>(bpf_map__fd(skeleton_->maps.clients),
                                                     bpf_map__max_entries(skeleton_->maps.clients))
                               .size();
  // The maps move on while they are counted: a difference below zero is none.
  const auto less = [](std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; };
  totals.flights_evicted =
      less(totals.counters.flights_added, totals.counters.flights_removed + totals.flights_present);
  totals.clients_evicted = less(totals.counters.clients_added, totals.clients_present);
  return totals;
}

ProbeCost Probe::read_cost() const {
  bpf_prog_info info{};
  std::uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(bpf_program__fd(skeleton_->progs.lock_probe), &info, &size) != 0) {
    return {};
  }
  return {info.run_cnt, info.run_time_ns};
}

std::size_t Probe::take_events(const std::function<void(const probe_event&)>& take) {
  take_ = take;
  const int taken = ring_buffer__consume(ring_);
  take_ = nullptr;
  return taken > 0 ? static_cast<std::size_t>(taken) : 0;
}

}  // namespace driftlock
