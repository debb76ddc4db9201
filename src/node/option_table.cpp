#include <array>

#include "src/node/namespace_rules.hpp"
#include "src/node/options.hpp"

// The table. A row's field is a lambda without captures, so that it is a plain function pointer.
#define DRIFTLOCK_FIELD(type, member) ([](Options& options) -> type& { return options.member; })
#define DRIFTLOCK_NUMBER(member, fallback, minimum, maximum)          \
  WholeNumber {                                                       \
    DRIFTLOCK_FIELD(std::int64_t, member), fallback, minimum, maximum \
  }
#define DRIFTLOCK_FLAG(member, fallback)    \
  Flag {                                    \
    DRIFTLOCK_FIELD(bool, member), fallback \
  }
#define DRIFTLOCK_TEXT(member, fallback, allowed, accepts)           \
  Text {                                                             \
    DRIFTLOCK_FIELD(std::string, member), fallback, allowed, accepts \
  }

namespace driftlock {
namespace {

constexpr std::int64_t kMillion = 1'000'000;

bool any_text(const std::string&) {
  return true;
}
bool not_empty(const std::string& text) {
  return !text.empty();
}
bool is_ipv4(const std::string& text) {
  std::uint32_t ignored = 0;
  return parse_ipv4(text, ignored);
}
bool is_host_port_or_empty(const std::string& text) {
  HostPort ignored;
  return text.empty() || parse_host_port(text, ignored);
}
bool is_absolute_path(const std::string& text) {
  return !text.empty() && text.front() == '/';
}
bool is_absolute_path_or_empty(const std::string& text) {
  return text.empty() || is_absolute_path(text);
}
bool is_socket_path(const std::string& text) {
  return text.empty() || (is_absolute_path(text) && text.size() < 108);  // sun_path
}
bool is_interface(const std::string& text) {
  return text.size() < 16 && text.find_first_of("/ \t") == std::string::npos;  // IFNAMSIZ
}
bool is_advance_namespaces(const std::string& text) {
  std::vector<AdvanceNamespace> ignored;
  return parse_advance_namespaces(text, ignored);
}
bool is_rules(const std::string& text) {
  return parse_namespace_rules(text).ok();
}
bool is_node_name(const std::string& text) {
  return text.size() <= 64 && text.find_first_of(" \t\n\"\\") == std::string::npos;
}

constexpr std::array kSections = {
    OptionSection{"node", "Who this node is, and where it remembers itself."},
    OptionSection{"port", "Where datagrams come from: a device of DPDK's, or a kernel socket."},
    OptionSection{"limits",
                  "Sizes of the tables. All memory is taken at start; a full table is answered "
                  "`full`. One lock costs about 120 bytes, one claim 170, one long key 40, one "
                  "session 160 and 32 for each slot, and 512 more where clients are profiled."},
    OptionSection{"lease", "How long a client may hold its locks without a sign of life."},
    OptionSection{"namespaces", "Rules for locks by the number of their namespace."},
    OptionSection{"clock", "What the node believes about time. See docs/timekeeping.md."},
    OptionSection{"gossip",
                  "Nodes tell each other about their clocks, and find out who is off. See "
                  "docs/timekeeping.md."},
    OptionSection{"auth", "Who may take locks."},
    OptionSection{"probe", "The eBPF probe, which watches requests and replies on an interface."},
    OptionSection{"predict",
                  "Client profiles and scores, and what is done about a client that is about to "
                  "fail. See docs/prediction.md."},
    OptionSection{"metrics", "What Prometheus scrapes."},
    OptionSection{"admin", "The socket that `driftlock status`, `holders` and `clock` ask."},
    OptionSection{"log", "Messages, on standard error."},
};

std::vector<OptionRow> node_rows() {
  return {
      {"node.name", DRIFTLOCK_TEXT(node.name, "", "at most 64 bytes without blanks", is_node_name),
       "Name of the node in its answers to people. Empty: the host's name."},
      {"node.state_directory",
       DRIFTLOCK_TEXT(node.state_directory, "/var/lib/driftlock", "an absolute path",
                      is_absolute_path),
       "Directory of the node's epoch, which rises at every start and makes fencing tokens rise "
       "with it. Losing it would let tokens fall: keep it on a disk that outlives the machine's "
       "boot."},
  };
}

std::vector<OptionRow> port_rows() {
  return {
      {"port.kind", Choice{DRIFTLOCK_FIELD(std::string, port.kind), "socket", {"socket", "dpdk"}},
       "`socket`: a UDP socket of the kernel's; needs no privilege. `dpdk`: a device that the node "
       "owns outright and polls."},
      {"port.address", DRIFTLOCK_TEXT(port.address, "127.0.0.1", "an IPv4 address", is_ipv4),
       "Address that clients send to. 0.0.0.0 with a socket: every address of the machine."},
      {"port.udp_port", DRIFTLOCK_NUMBER(port.udp_port, 4780, 0, 65535),
       "UDP port. 0 with a socket: the kernel chooses, and the ready line names it."},
      {"port.device", DRIFTLOCK_TEXT(port.device, "", "a device of DPDK's", any_text),
       "dpdk: a virtual device with its arguments, as `net_af_xdp0,iface=eth1` or "
       "`net_af_packet0,iface=eth1`, or the PCI address of a NIC bound to a driver of DPDK's, as "
       "`0000:01:00.0`."},
      {"port.vlan", DRIFTLOCK_NUMBER(port.vlan, 0, 0, 4094), "dpdk: VLAN tag; 0: none."},
      {"port.cpu", DRIFTLOCK_NUMBER(port.cpu, -1, -1, 1023),
       "Processor that the thread of the port is bound to; -1: not bound."},
      {"port.idle_sleep_us", DRIFTLOCK_NUMBER(port.idle_sleep_us, 0, 0, 1000),
       "dpdk: sleep this long after a poll that found nothing, to leave the processor to others "
       "at the price of latency; 0: poll without pause, as a node with a processor to spare "
       "should."},
      {"port.buffers", DRIFTLOCK_NUMBER(port.buffers, 4096, 512, kMillion),
       "Packet buffers, 2 KiB each."},
      {"port.ring_size", DRIFTLOCK_NUMBER(port.ring_size, 1024, 64, 32768),
       "dpdk: descriptors in each direction, as far as the driver allows."},
      {"port.huge_pages", DRIFTLOCK_FLAG(port.huge_pages, true),
       "dpdk: use huge pages where enough are free."},
      {"port.memory_mib", DRIFTLOCK_NUMBER(port.memory_mib, 64, 16, 65536),
       "dpdk: memory for packet buffers and the driver."},
      {"port.stamps",
       Choice{DRIFTLOCK_FIELD(std::string, port.stamps), "auto", {"auto", "phc", "counter", "off"}},
       "dpdk: the NIC's receive stamps. `auto`: used where a check at start finds them fit, else "
       "the processor's counter at the burst. `phc`: they are `port.stamps_phc`'s nanoseconds; "
       "`counter`: they are an even counter of any unit; the node does not start where that is not "
       "so. `off`: not used. See docs/nics.md."},
      {"port.stamps_phc",
       DRIFTLOCK_TEXT(port.stamps_phc, "", "an absolute path, or nothing",
                      is_absolute_path_or_empty),
       "dpdk: the PTP hardware clock of that NIC, as `ethtool -T` names it; empty: "
       "`clock.phc_device` where `clock.source` is `phc`, else none."},
      {"port.stamp_bits", DRIFTLOCK_NUMBER(port.stamp_bits, 64, 32, 64),
       "dpdk, stamps `phc`: how many bits of the nanoseconds a stamp has; 32 wraps every 4.3 s."},
  };
}

std::vector<OptionRow> table_rows() {
  return {
      {"limits.sessions_max", DRIFTLOCK_NUMBER(limits.sessions_max, 1024, 1, 1 << 24),
       "Sessions at once."},
      {"limits.slots_per_session", DRIFTLOCK_NUMBER(limits.slots_per_session, 16, 1, 64),
       "Operations that one session may have under way."},
      {"limits.locks_max", DRIFTLOCK_NUMBER(limits.locks_max, 1 << 16, 1, 1 << 28),
       "Locks that are held or waited for at once."},
      {"limits.claims_max", DRIFTLOCK_NUMBER(limits.claims_max, 1 << 16, 1, 1 << 28),
       "Waiters, and holders of shared locks and semaphores past the first of each, at once."},
      {"limits.long_keys_max", DRIFTLOCK_NUMBER(limits.long_keys_max, 1 << 14, 0, 1 << 28),
       "Locks at once whose key is longer than 24 bytes."},
      {"limits.groups_max", DRIFTLOCK_NUMBER(limits.groups_max, 1024, 1, kMillion),
       "Acquires of several locks whose answer is remembered."},
      {"limits.sessions_per_client_max",
       DRIFTLOCK_NUMBER(limits.sessions_per_client_max, 0, 0, 1 << 24),
       "Sessions that one client may have at once; 0: no limit of its own."},
      {"lease.term_default_ms", DRIFTLOCK_NUMBER(lease.term_default_ms, 5000, 50, 3'600'000),
       "Term of a lease where the client does not ask for one."},
      {"lease.term_min_ms", DRIFTLOCK_NUMBER(lease.term_min_ms, 50, 10, 3'600'000),
       "Shortest term granted."},
      {"lease.term_max_ms", DRIFTLOCK_NUMBER(lease.term_max_ms, 60'000, 50, 3'600'000),
       "Longest term granted. After a crash nothing new is granted until the leases of the life "
       "before have run out, which the longest of them decides."},
  };
}

std::vector<OptionRow> namespace_rows() {
  return {
      {"namespaces.rules",
       DRIFTLOCK_TEXT(namespaces.rules, "",
                      "rules ID: key=value, ...; ID: ... with the keys policy (wait, fence), "
                      "predict (off, shadow, act), suspect_one_in, locks_max, "
                      "sessions_max and acquires_per_second_max",
                      is_rules),
       "As `7: policy=fence, suspect_one_in=100000; 9: predict=shadow`. `policy=fence`: whatever "
       "the locks guard refuses old fencing tokens, so a lock may be taken from its holder at "
       "once. `predict`: how far prediction may go, at most. `suspect_one_in`: a holder of such a "
       "lock is asked to renew only if an ordinary client looked so once in as many. `locks_max`, "
       "`sessions_max`: locks of the namespace, and sessions that have asked for some, at once; "
       "`acquires_per_second_max`: a second's worth may come at once. What is beyond is answered "
       "`quota`; 0: no limit of its own."},
  };
}

std::vector<OptionRow> clock_rows() {
  return {
      {"clock.source",
       Choice{DRIFTLOCK_FIELD(std::string, clock.source),
              "system",
              {"system", "chrony", "phc", "simulated"}},
       "`system`: the kernel's clock, with the errors that its NTP state admits. `chrony`: the "
       "same clock, with the errors that chronyd's tracking report admits. `phc`: a PTP "
       "hardware clock kept by ptp4l. `simulated`: a clock that means nothing outside this process "
       "and whose faults can be set through the admin socket, to rehearse them."},
      {"clock.phc_device",
       DRIFTLOCK_TEXT(clock.phc_device, "/dev/ptp0", "an absolute path", is_absolute_path),
       "phc: the device."},
      {"clock.phc_max_error_ns",
       DRIFTLOCK_NUMBER(clock.phc_max_error_ns, 1000, 0, 1'000 * kMillion),
       "phc: how far the device may be from TAI."},
      {"clock.phc_to_tai_ns",
       DRIFTLOCK_NUMBER(clock.phc_to_tai_ns, 0, -1'000'000 * kMillion, 1'000'000 * kMillion),
       "phc: added to the device's time to get TAI; 0 under PTP, 37000000000 where it is kept in "
       "UTC."},
      {"clock.phc_readings", DRIFTLOCK_NUMBER(clock.phc_readings, 5, 1, 25),
       "phc: readings for each sample, of which the tightest counts; 1 for a device that limits "
       "how often it may be read."},
      {"clock.chrony_port", DRIFTLOCK_NUMBER(clock.chrony_port, 323, 1, 65'535),
       "chrony: chronyd's command port (its `cmdport`) on 127.0.0.1."},
      {"clock.interval_ms", DRIFTLOCK_NUMBER(clock.interval_ms, 100, 1, 60'000),
       "Time between two samples of the source."},
      {"clock.worst_case_drift_ppb",
       DRIFTLOCK_NUMBER(clock.worst_case_drift_ppb, 50'000, 1, kMillion),
       "How far two rates of the machine's oscillator may differ: the hard bound grows by this "
       "without a source."},
      {"clock.tolerance_ppb", DRIFTLOCK_NUMBER(clock.tolerance_ppb, 500'000, 1, 10 * kMillion),
       "How far the oscillator's rate may be from the nominal one."},
      {"clock.asymmetry_ns", DRIFTLOCK_NUMBER(clock.asymmetry_ns, 0, 0, 1'000 * kMillion),
       "Budget for the asymmetry of the path to the reference, added to every sample's error."},
      {"clock.holdover_after_ms", DRIFTLOCK_NUMBER(clock.holdover_after_ms, 5000, 10, 3'600'000),
       "Without a good sample for this long the clock is in HOLDOVER."},
      {"clock.lost_half_width_ns",
       DRIFTLOCK_NUMBER(clock.lost_half_width_ns, 250 * kMillion, 1000, 3'600'000 * kMillion),
       "With a hard bound wider than this to either side the clock is LOST and nothing new is "
       "granted."},
      {"clock.trust_unsynchronized", DRIFTLOCK_FLAG(clock.trust_unsynchronized, false),
       "system: use the kernel's clock although nothing disciplines it. For one machine alone: "
       "against other machines its times mean nothing."},
      {"clock.assumed_error_ns",
       DRIFTLOCK_NUMBER(clock.assumed_error_ns, 10 * kMillion, 1000, 3'600'000 * kMillion),
       "system: the error to assume of an unsynchronized clock that is trusted."},
      {"clock.tai_offset_s", DRIFTLOCK_NUMBER(clock.tai_offset_s, 37, 0, 1000),
       "system: TAI - UTC where the kernel was never told."},
      {"clock.ptp4l_socket",
       DRIFTLOCK_TEXT(clock.ptp4l_socket, "", "an absolute path of less than 108 bytes, or nothing",
                      is_socket_path),
       "phc, system: management socket of the ptp4l that keeps the clock, as /var/run/ptp4l. Its "
       "offset, path delay and grandmaster then judge every sample, and without a grandmaster the "
       "clock is in HOLDOVER. Empty: ptp4l is not asked."},
      {"clock.ptp4l_free_running", DRIFTLOCK_FLAG(clock.ptp4l_free_running, false),
       "That ptp4l only measures (its own free_running): the offset that it reports is taken off."},
      {"clock.segment",
       DRIFTLOCK_TEXT(clock.segment, "", "an absolute path of less than 108 bytes, or nothing",
                      is_socket_path),
       "File in shared memory, as /dev/shm/driftlock_clock, in which local programs read the clock "
       "(driftlock_clock.h); empty: none."},
  };
}

std::vector<OptionRow> other_rows() {
  return {
      {"auth.keys_file",
       DRIFTLOCK_TEXT(auth.keys_file, "/etc/driftlock/keys.toml", "a path", not_empty),
       "Keys of the clients that may open sessions; `driftlock keygen` makes one. Nobody but its "
       "owner may read it."},
      {"probe.interface",
       DRIFTLOCK_TEXT(probe.interface, "", "the name of an interface", is_interface),
       "Interface to watch; empty: no probe. Needs root, or CAP_BPF, CAP_NET_ADMIN and "
       "CAP_PERFMON."},
      {"probe.hook", Choice{DRIFTLOCK_FIELD(std::string, probe.hook), "tc", {"tc", "xdp"}},
       "`tc`: both ways by tc. `xdp`: what comes in by XDP, what goes out by tc. On the interface "
       "that the port drives by AF_XDP neither applies: requests are then counted by the program "
       "that feeds the port, and replies cannot be seen."},
      {"probe.sample_every", DRIFTLOCK_NUMBER(probe.sample_every, 64, 0, kMillion),
       "One event in so many replies is sampled; 0: none."},
      {"probe.clients_max", DRIFTLOCK_NUMBER(probe.clients_max, 4096, 1, kMillion),
       "Clients that the probe keeps apart, about 1.9 KB of kernel memory each."},
      {"predict.mode",
       Choice{DRIFTLOCK_FIELD(std::string, predict.mode), "shadow", {"off", "shadow", "act"}},
       "`off`: no profiles. `shadow`: clients are profiled and scored, and what would be done is "
       "logged with its outcome. `act`: doubtful holders are asked to renew, lease terms adapt, "
       "locks of failing clients go to others as early as promises allow, and free locks are "
       "granted in advance where predict.advance_namespaces says so. `driftlock predict` "
       "changes it at run time."},
      {"predict.interval_ms", DRIFTLOCK_NUMBER(predict.interval_ms, 1000, 10, 60'000),
       "Time between two scorings."},
      {"predict.look_ms", DRIFTLOCK_NUMBER(predict.look_ms, 25, 1, 10'000),
       "Time between two looks at who is silent."},
      {"predict.alarm_one_in", DRIFTLOCK_NUMBER(predict.alarm_one_in, 10'000, 10, 1'000 * kMillion),
       "Score threshold: an ordinary client passes for suspect once in so many scorings."},
      {"predict.silence_one_in",
       DRIFTLOCK_NUMBER(predict.silence_one_in, 1000, 2, 1'000 * kMillion),
       "Silence threshold: an ordinary one passes for suspect once in so many. A namespace's "
       "suspect_one_in is stricter still."},
      {"predict.silence_floor_ms", DRIFTLOCK_NUMBER(predict.silence_floor_ms, 50, 1, 60'000),
       "A silence so much longer than usual is ordinary in any case."},
      {"predict.patience_ms", DRIFTLOCK_NUMBER(predict.patience_ms, 100, 1, 60'000),
       "How long a request to renew may go unanswered, at least; three times the client's usual "
       "time to answer, and three quarters of the longest it was ever late, if that is more."},
      {"predict.term_min_ms", DRIFTLOCK_NUMBER(predict.term_min_ms, 1000, 10, 3'600'000),
       "act: lease terms are not shortened further, nor below lease.term_min_ms."},
      {"predict.term_max_ms", DRIFTLOCK_NUMBER(predict.term_max_ms, 10'000, 10, 3'600'000),
       "act: terms of steady clients that nobody waits for grow to this, to twice the term they "
       "began with, and to lease.term_max_ms at most."},
      {"predict.asks_per_minute_client",
       DRIFTLOCK_NUMBER(predict.asks_per_minute_client, 60, 1, 60'000),
       "Requests to renew that one client gets, on average; four may come at once."},
      {"predict.asks_per_second", DRIFTLOCK_NUMBER(predict.asks_per_second, 1000, 1, kMillion),
       "Requests to renew to all clients together."},
      {"predict.self_suspect_percent", DRIFTLOCK_NUMBER(predict.self_suspect_percent, 50, 1, 100),
       "With so many of at least 8 clients in doubt at once the node suspects itself, and does "
       "nothing."},
      {"predict.contention", DRIFTLOCK_FLAG(predict.contention, false),
       "Learn who asks for which lock and how long it is held, tell those who wait how long that "
       "will take, and see which locks could be granted in advance."},
      {"predict.advance_namespaces",
       DRIFTLOCK_TEXT(predict.advance_namespaces, "",
                      "numbers of namespaces with commas between, each perhaps with =CHANCE, 0.5 "
                      "to 1",
                      is_advance_namespaces),
       "Namespaces whose free locks are granted in advance to who is expected to ask next, where "
       "that client takes such grants and the chance that it uses them is at least CHANCE (0.905 "
       "where none is given), as `0,7=0.95`; in mode `shadow` this is only counted."},
      {"metrics.address",
       DRIFTLOCK_TEXT(metrics.address, "127.0.0.1:9478", "ADDRESS:PORT, or nothing",
                      is_host_port_or_empty),
       "Where Prometheus scrapes `/metrics`; empty: nowhere. Port 0: the kernel chooses, and the "
       "ready line names it."},
      {"admin.socket",
       DRIFTLOCK_TEXT(admin.socket, "/run/driftlock/admin.sock",
                      "an absolute path of less than 108 bytes, or nothing", is_socket_path),
       "UNIX socket for questions (mode 0660); empty: none."},
      {"admin.group", DRIFTLOCK_TEXT(admin.group, "", "the name of a group", any_text),
       "Group that may ask; empty: the process's own."},
      {"log.level",
       Choice{DRIFTLOCK_FIELD(std::string, log.level),
              "info",
              {"debug", "info", "warning", "error", "off"}},
       "The least that is said."},
      {"log.format", Choice{DRIFTLOCK_FIELD(std::string, log.format), "time", {"time", "journal"}},
       "`time`: every line begins with the time. `journal`: with the priority that systemd's "
       "journal reads, which adds the time itself."},
  };
}

std::vector<OptionRow> gossip_rows() {
  return {
      {"gossip.address",
       DRIFTLOCK_TEXT(gossip.address, "", "ADDRESS:PORT, or nothing", is_host_port_or_empty),
       "Where the other nodes are heard (4781 is the usual port); empty: this node keeps to "
       "itself."},
      {"gossip.node_id", DRIFTLOCK_NUMBER(gossip.node_id, 1, 1, 65'535),
       "This node's number, another for each node of the cluster."},
      {"gossip.key_file",
       DRIFTLOCK_TEXT(gossip.key_file, "/etc/driftlock/cluster.key", "an absolute path",
                      is_absolute_path),
       "The key that all nodes of the cluster share, as `driftlock keygen` makes one. Who has it "
       "can "
       "speak as any node."},
      {"gossip.peers",
       DRIFTLOCK_TEXT(gossip.peers, "", "ID@ADDRESS:PORT, with commas between", any_text),
       "The other nodes, such as `2@10.0.0.2:4781,3@10.0.0.3:4781`."},
      {"gossip.interval_ms", DRIFTLOCK_NUMBER(gossip.interval_ms, 250, 10, 60'000),
       "Time between two rounds."},
      {"gossip.fanout", DRIFTLOCK_NUMBER(gossip.fanout, 3, 1, 16), "Peers asked in a round."},
      {"gossip.exchanges", DRIFTLOCK_NUMBER(gossip.exchanges, 3, 1, 16),
       "Exchanges with each of them: the least delayed one decides."},
      {"gossip.client_error_us", DRIFTLOCK_NUMBER(gossip.client_error_us, 5000, 1, kMillion),
       "How far clients' clocks and the way to them may be off, before enough of them together "
       "make "
       "a node doubt itself."},
  };
}

std::vector<OptionRow> all_rows() {
  std::vector<OptionRow> rows;
  for (auto part : {node_rows(), port_rows(), table_rows(), namespace_rows(), clock_rows(),
                    gossip_rows(), other_rows()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

}  // namespace

std::span<const OptionSection> option_sections() {
  return kSections;
}

std::span<const OptionRow> option_rows() {
  static const std::vector<OptionRow> rows = all_rows();
  return rows;
}

const OptionRow* find_option(std::string_view name) {
  for (const OptionRow& row : option_rows()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace driftlock
