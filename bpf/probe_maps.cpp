#include "bpf/probe_maps.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace driftlock {
namespace {

std::uint64_t packed(const probe_client_key& key) {
  return (std::uint64_t{key.ipv4} << 16) | key.udp_port;
}

// A map that changes under the walk may end it early: bounded by `limit`.
std::vector<probe_client_key> keys_of(int map, std::size_t limit) {
  std::vector<probe_client_key> keys;
  probe_client_key key{};
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

ProbeCounts ProbeCounts::since(const ProbeCounts& before) const {
  return {requests - before.requests,   repeats - before.repeats, replies - before.replies,
          unmatched - before.unmatched, errors - before.errors,   pushes - before.pushes};
}

Result<std::unique_ptr<ProbeMaps>> ProbeMaps::open(const Descriptors& descriptors) {
  std::unique_ptr<ProbeMaps> maps(new ProbeMaps(descriptors));
  const std::size_t bytes = std::size_t{descriptors.flight_sets} * sizeof(probe_flight_set);
  void* flights = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptors.flights, 0);
  if (flights == MAP_FAILED) {
    return Error{"probe: mapping the flights: " + std::string(std::strerror(errno))};
  }
  maps->flights_ = static_cast<const probe_flight_set*>(flights);
  const auto forward = [](void* context, void* data, std::size_t size) {
    probe_event event{};
    if (size < sizeof(event)) return 0;
    std::memcpy(&event, data, sizeof(event));
    static_cast<ProbeMaps*>(context)->take_(event);
    return 0;
  };
  maps->ring_ = ring_buffer__new(descriptors.events, forward, maps.get(), nullptr);
  if (maps->ring_ == nullptr) {
    return Error{"probe: opening the event ring: " + std::string(std::strerror(errno))};
  }
  return maps;
}

ProbeMaps::~ProbeMaps() {
  ring_buffer__free(ring_);
  if (flights_ == nullptr) return;
  // munmap() takes no pointer to const, and changes nothing.
  munmap(const_cast<probe_flight_set*>(flights_),
         std::size_t{maps_.flight_sets} * sizeof(probe_flight_set));
}

ProbeClient ProbeMaps::describe(const probe_client_key& key, const probe_client& value) {
  ProbeClient client;
  client.ipv4 = key.ipv4;
  client.udp_port = key.udp_port;
  client.session_id = value.session_id;
  client.node_ipv4 = value.node_ipv4;
  client.node_port = value.node_port;
  client.clock = value.clock;
  client.last_request_ns = value.last_request_ns;
  client.last_reply_ns = value.last_reply_ns;
  client.total.sum_ns = static_cast<double>(value.latency_sum_ns);
  for (std::size_t i = 0; i < PROBE_BUCKETS; ++i) {
    client.total.buckets[i] = value.buckets[i];
    client.total.count += value.buckets[i];
  }
  client.counts = {value.requests,  value.repeats, client.total.count,
                   value.unmatched, value.errors,  value.pushes};
  client.recent = client.total;
  client.recent_counts = client.counts;
  return client;
}

void ProbeMaps::subtract(const LastReading& last, ProbeClient& client) {
  // A client that was evicted and is back counts from nothing again.
  if (client.counts.requests < last.counts.requests ||
      client.counts.replies < last.counts.replies) {
    return;
  }
  client.recent_counts = client.counts.since(last.counts);
  client.recent.count = client.recent_counts.replies;
  client.recent.sum_ns -= last.latency_sum_ns;
  for (std::size_t i = 0; i < PROBE_BUCKETS; ++i) client.recent.buckets[i] -= last.buckets[i];
}

std::vector<ProbeClient> ProbeMaps::read_clients() {
  std::vector<ProbeClient> clients;
  std::unordered_map<std::uint64_t, LastReading> readings;
  probe_client value{};
  for (const probe_client_key& key : keys_of(maps_.clients, maps_.clients_max)) {
    if (bpf_map_lookup_elem(maps_.clients, &key, &value) != 0) continue;  // evicted meanwhile
    ProbeClient client = describe(key, value);
    if (const auto found = last_.find(packed(key)); found != last_.end()) {
      subtract(found->second, client);
    }
    readings[packed(key)] = {client.counts, client.total.sum_ns, client.total.buckets};
    clients.push_back(std::move(client));
  }
  last_ = std::move(readings);
  return clients;
}

std::uint64_t ProbeMaps::count_flights() const {
  std::uint64_t present = 0;
  for (std::uint32_t set = 0; set < maps_.flight_sets; ++set) {
    for (const probe_flight& way : flights_[set].way) present += way.tag != 0 ? 1 : 0;
  }
  return present;
}

ProbeTotals ProbeMaps::read_totals() const {
  ProbeTotals totals;
  const int processors = libbpf_num_possible_cpus();
  if (processors <= 0) return totals;
  std::vector<probe_counters> per_processor(static_cast<std::size_t>(processors));
  const std::uint32_t zero = 0;
  if (bpf_map_lookup_elem(maps_.counters, &zero, per_processor.data()) != 0) return totals;
  // Every field is a uint64_t count.
  constexpr std::size_t kFields = sizeof(probe_counters) / sizeof(std::uint64_t);
  std::uint64_t sums[kFields] = {};
  for (const probe_counters& one : per_processor) {
    std::uint64_t fields[kFields];
    std::memcpy(fields, &one, sizeof(fields));
    for (std::size_t i = 0; i < kFields; ++i) sums[i] += fields[i];
  }
  std::memcpy(&totals.counters, sums, sizeof(sums));
  totals.flights_present = count_flights();
  totals.clients_present = keys_of(maps_.clients, maps_.clients_max).size();
  // The map moves on while it is counted: a difference below zero is none.
  const std::uint64_t added = totals.counters.clients_added;
  totals.clients_evicted = added > totals.clients_present ? added - totals.clients_present : 0;
  return totals;
}

std::size_t ProbeMaps::take_events(const std::function<void(const probe_event&)>& take) {
  take_ = take;
  const int taken = ring_buffer__consume(ring_);
  take_ = nullptr;
  return taken > 0 ? static_cast<std::size_t>(taken) : 0;
}

}  // namespace driftlock
