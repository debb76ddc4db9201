#include "src/node/node.hpp"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "hw/key_file.hpp"
#include "hw/tick_counter.hpp"
#include "src/node/log.hpp"
#include "src/node/namespace_rules.hpp"

namespace driftlock {
namespace {

std::string host_name() {
  std::array<char, 65> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

template <typename T>
std::uint32_t u32(T number) {
  return static_cast<std::uint32_t>(number);
}

PredictorThread::Settings predictor_settings(const Options::Predict& options) {
  PredictorThread::Settings settings;
  settings.interval_ns = options.interval_ms * kMillisecond;
  settings.predictor.alarm_rate = 1.0 / static_cast<double>(options.alarm_one_in);
  RenewalOptions& renewal = settings.renewal;
  DRIFTLOCK_ASSERT(parse_mode(options.mode, renewal.mode));  // the table saw to it
  renewal.silence_rate = 1.0 / static_cast<double>(options.silence_one_in);
  renewal.floor_ns = options.silence_floor_ms * kMillisecond;
  renewal.patience_ns = options.patience_ms * kMillisecond;
  renewal.term_min_ns = options.term_min_ms * kMillisecond;
  renewal.term_max_ns = options.term_max_ms * kMillisecond;
  renewal.client_per_second = static_cast<double>(options.asks_per_minute_client) / 60.0;
  renewal.total_per_second = static_cast<double>(options.asks_per_second);
  renewal.self_share = static_cast<float>(options.self_suspect_percent) / 100.0F;
  renewal.interval_ns = options.look_ms * kMillisecond;
  return settings;
}

}  // namespace

const char* version() {
  return DRIFTLOCK_VERSION;
}

Nanoseconds unix_now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

Node::Node(const Options& options)
    : options_(options),
      name_(options.node.name.empty() ? host_name() : options.node.name),
      started_unix_ns_(unix_now_ns()) {}

Result<std::unique_ptr<Node>> Node::start(const Options& options) {
  std::unique_ptr<Node> node(new Node(options));
  const Status opened = node->open_parts();
  if (!opened.ok()) return opened.error();
  return node;
}

Status Node::open_parts() {
  Result<std::vector<ClientKey>> keys = load_key_file(options_.auth.keys_file);
  if (!keys.ok()) return Error{"auth.keys_file: " + keys.error().message};
  keyring_ = std::make_unique<Keyring>(std::move(keys).value());
  Result<std::unique_ptr<Life>> life = Life::begin(options_.node.state_directory);
  if (!life.ok()) return life.error();
  life_ = std::move(life).value();
  const Status clock = open_clock();
  if (!clock.ok()) return clock;
  make_engine();
  for (const auto open :
       {&Node::open_shard, &Node::open_gossip, &Node::open_probe, &Node::open_doors}) {
    const Status opened = (this->*open)();
    if (!opened.ok()) return opened;
  }
  if (gossip_) {
    clock_->adjust_by(
        [this](ClockSnapshot& snapshot) { apply_margin(gossip_->margin(), snapshot); });
  }
  clock_->start();
  if (gossip_) gossip_->start();
  horizon_->start();
  const Status served = shard_->start();
  if (!served.ok()) return served;
  serving_ = true;
  predictor_->start();
  if (admin_) admin_->start();
  return done();
}

Status Node::open_clock() {
  Result<std::unique_ptr<ClockSource>> source = open_clock_source(options_.clock);
  if (!source.ok()) return source.error();
  if (!ticks_are_invariant()) {
    log_line(LogLevel::kWarning,
             "this processor's counter may change its rate; clock.tolerance_ppb must cover that");
  }
  rehearsal_ = dynamic_cast<RehearsalSource*>(source->get());
  clock_ = std::make_unique<ClockThread>(options_.clock, std::move(source).value(), [this] {
    if (shard_) shard_->calibrate();
  });
  if (options_.clock.segment.empty()) return done();
  Result<std::unique_ptr<ClockSegmentWriter>> segment =
      ClockSegmentWriter::create(options_.clock.segment);
  if (!segment.ok()) return Error{"clock.segment: " + segment.error().message};
  clock_->share(std::move(segment).value());
  return done();
}

void Node::make_engine() {
  const Options::Limits& limits = options_.limits;
  EngineOptions engine;
  engine.sessions.sessions_max = u32(limits.sessions_max);
  engine.sessions.slots_per_session = u32(limits.slots_per_session);
  engine.locks.locks_max = u32(limits.locks_max);
  engine.locks.claims_max = u32(limits.claims_max);
  engine.locks.long_keys_max = u32(limits.long_keys_max);
  engine.locks.hash_seed = life_->secrets().hash_seed;
  engine.groups_max = u32(limits.groups_max);
  engine.sessions_per_client_max = u32(limits.sessions_per_client_max);
  Result<std::vector<NamespaceOptions>> spaces = parse_namespace_rules(options_.namespaces.rules);
  DRIFTLOCK_ASSERT(spaces.ok());  // the table saw to it
  engine.namespaces = std::move(spaces).value();
  if (options_.predict.mode != "off" && options_.predict.contention) learn_contention(engine);
  engine.epoch = life_->epoch();
  engine.time_source = time_source_of(options_.clock);
  engine.ticket_key = life_->secrets().ticket_key;
  const ssize_t random =
      getrandom(engine.node_secret.words.data(), sizeof(engine.node_secret.words), 0);
  DRIFTLOCK_ASSERT(random == sizeof(engine.node_secret.words));  // up to 256 bytes never fall short
  engine.term_min_ns = options_.lease.term_min_ms * kMillisecond;
  engine.term_default_ns = options_.lease.term_default_ms * kMillisecond;
  engine.term_max_ns = options_.lease.term_max_ms * kMillisecond;
  engine.ready_after_tai_ns = life_->leases_before_end_tai_ns();
  engine_ = std::make_unique<Engine>(engine, *keyring_, &memory_);
  horizon_ = std::make_unique<HorizonThread>(*life_, *engine_, [this] { return clock_->now(); });
}

void Node::learn_contention(EngineOptions& engine) {
  constexpr std::uint32_t kEvents = 4096;  // of a turn: 32 datagrams of 14 operations
  engine.lock_events_max = kEvents;
  std::vector<AdvanceNamespace> namespaces;
  DRIFTLOCK_ASSERT(parse_advance_namespaces(options_.predict.advance_namespaces, namespaces));
  for (const AdvanceNamespace& each : namespaces) {
    const auto known = std::find_if(engine.namespaces.begin(), engine.namespaces.end(),
                                    [&](const NamespaceOptions& one) { return one.id == each.id; });
    if (known == engine.namespaces.end()) {
      engine.namespaces.push_back({.id = each.id, .advance_hit_min = each.hit_min});
    } else {
      known->advance_hit_min = each.hit_min;
    }
  }
  speculator_ =
      std::make_unique<Speculator>(ContentionOptions{}, options_.predict.mode == "act", &memory_);
}

Status Node::open_shard() {
  if (options_.predict.mode != "off") {
    profiles_ =
        std::make_unique<ProfileTable>(static_cast<std::size_t>(options_.limits.sessions_max));
  }
  const ShardParts parts{*engine_, clock_->published(), profiles_.get(), counters_,
                         speculator_.get()};
  Options::Port port = options_.port;
  if (port.stamps_phc.empty() && options_.clock.source == "phc") {
    port.stamps_phc = options_.clock.phc_device;
  }
  std::unique_ptr<SteeringStub> stub;
  if (probe_steers()) {
    Result<std::unique_ptr<SteeringStub>> made = SteeringStub::make();
    if (!made.ok()) return made.error();
    stub = std::move(made).value();
    port.device += stub->argument();
  }
  Result<std::unique_ptr<Shard>> shard =
      options_.port.kind == "dpdk" ? make_dpdk_shard(port, parts) : make_socket_shard(port, parts);
  if (!shard.ok()) return Error{"port: " + shard.error().message};
  shard_ = std::move(shard).value();
  return done();
}

// The probe is wanted on the interface that the port drives by AF_XDP: one XDP program does both.
bool Node::probe_steers() const {
  const std::string& device = options_.port.device;
  const std::string& interface = options_.probe.interface;
  return options_.port.kind == "dpdk" && device.rfind("net_af_xdp", 0) == 0 && !interface.empty() &&
         (device + ",").find(",iface=" + interface + ",") != std::string::npos;
}

Status Node::open_gossip() {
  if (options_.gossip.address.empty()) return done();
  Result<std::unique_ptr<GossipThread>> gossip =
      GossipThread::open(options_.gossip, life_->epoch(), clock_->own(), profiles_.get());
  if (!gossip.ok()) return gossip.error();
  gossip_ = std::move(gossip).value();
  return done();
}

Status Node::open_probe() {
  std::unique_ptr<Probe> probe;
  if (!options_.probe.interface.empty()) {
    ProbeOptions options;
    options.hook = options_.probe.hook == "xdp" ? ProbeHook::kXdp : ProbeHook::kTc;
    options.udp_port = static_cast<std::uint16_t>(options_.port.udp_port);
    options.clients_max = u32(options_.probe.clients_max);
    options.sample_every = u32(options_.probe.sample_every);
    Result<std::unique_ptr<Probe>> attached =
        probe_steers() ? Probe::steer(options_.probe.interface, options)
                       : Probe::attach(options_.probe.interface, options);
    if (!attached.ok()) return Error{"probe.interface: " + attached.error().message};
    probe = std::move(attached).value();
  }
  predictor_ = std::make_unique<PredictorThread>(
      profiles_.get(), std::move(probe), predictor_settings(options_.predict), *shard_,
      speculator_.get(), [this] { return clock_->now(); });
  return done();
}

Status Node::open_doors() {
  if (!options_.metrics.address.empty()) {
    Result<std::unique_ptr<WebServer>> web = WebServer::serve(options_.metrics.address, view());
    if (!web.ok()) return web.error();
    web_ = std::move(web).value();
  }
  if (!options_.admin.socket.empty()) {
    Result<std::unique_ptr<Admin>> admin =
        Admin::open(options_.admin, view(), web_ ? web_->metrics_url() : "");
    if (!admin.ok()) return admin.error();
    admin_ = std::move(admin).value();
  }
  return done();
}

NodeView Node::view() const {
  return {.options = options_,
          .name = name_,
          .epoch = life_->epoch(),
          .started_unix_ns = started_unix_ns_,
          .counters = counters_,
          .gauges = engine_->gauges(),
          .clock = *clock_,
          .predictor = *predictor_,
          .speculator = speculator_.get(),
          .shard = *shard_,
          .rehearsal = rehearsal_,
          .gossip = gossip_.get()};
}

Node::~Node() {
  // Who asks goes first, who is asked last; the lcore before what it reads.
  admin_.reset();
  web_.reset();
  predictor_.reset();
  if (shard_) shard_->stop();
  if (horizon_) horizon_->stop();
  if (gossip_) gossip_->stop();
  // Its turns look at the shard and at what gossip found.
  if (clock_) clock_->stop();
  if (serving_) record_end();
}

// In an orderly end the sessions themselves tell how long leases may still run.
void Node::record_end() const {
  Nanoseconds last_ns = life_->leases_before_end_tai_ns();
  const SessionTable& sessions = engine_->sessions();
  for (std::uint32_t i = 0; i < sessions.capacity(); ++i) {
    const Session& session = sessions.at(i);
    if (session.state != SessionState::kActive && session.state != SessionState::kDelayed) continue;
    last_ns = std::max(last_ns,
                       saturating_add(session.lease_end_ns, session.lock_delay_ms * kMillisecond));
  }
  const Status recorded = life_->record_horizon(last_ns);
  if (recorded.ok()) return;
  log_line(LogLevel::kWarning, "the end is not recorded; the next start waits for leases longer",
           {{"trouble", recorded.error().message}});
}

std::string Node::ready_line() const {
  return "address=" + shard_->address() + " metrics=" + (web_ ? web_->metrics_url() : "off") +
         " admin=" + (admin_ ? options_.admin.socket : "off");
}

}  // namespace driftlock
