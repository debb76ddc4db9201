#include "src/node/gossip_thread.hpp"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "hw/key_file.hpp"
#include "hw/tick_counter.hpp"
#include "src/node/log.hpp"

namespace driftlock {
namespace {

// What the cluster said so long ago binds no more: a node that is cut off is on its own.
constexpr Nanoseconds kMarginAgeMax = 2 * kSecond;

Result<Peer> parse_peer(const std::string& text) {
  const Error wrong{"\"" + text + "\" is not ID@ADDRESS:PORT"};
  const std::size_t at = text.find('@');
  if (at == std::string::npos) return wrong;
  Peer peer;
  const auto [end, error] = std::from_chars(text.data(), text.data() + at, peer.id);
  HostPort where;
  if (error != std::errc{} || end != text.data() + at || peer.id == kNobody || peer.id > 65'535 ||
      !parse_host_port(text.substr(at + 1), where) || !parse_ipv4(where.host, peer.ipv4)) {
    return wrong;
  }
  peer.udp_port = where.port;
  return peer;
}

std::uint64_t random_seed_word() {
  std::uint64_t word = 0;
  const ssize_t bytes = getrandom(&word, sizeof(word), 0);
  DRIFTLOCK_ASSERT(bytes == sizeof(word));
  return word;
}

}  // namespace

Result<PeerList> parse_peers(const std::string& text) {
  std::vector<Peer> peers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t begin = part.find_first_not_of(' ');
    if (begin == std::string::npos) continue;
    Result<Peer> peer = parse_peer(part.substr(begin, part.find_last_not_of(' ') + 1 - begin));
    if (!peer.ok()) return peer.error();
    peers.push_back(*peer);
  }
  return PeerList(std::move(peers));
}

void apply_margin(const ClockMargin& margin, ClockSnapshot& snapshot) {
  if (!margin.known || snapshot.state == ClockState::kLost) return;
  const auto ticks =
      static_cast<double>(static_cast<std::int64_t>(snapshot.anchor_ticks - margin.ticks));
  const double age_ns = ticks * snapshot.tai_ns_per_tick;
  if (std::fabs(age_ns) < static_cast<double>(kMarginAgeMax)) {
    const double slow = ticks >= 0.0 ? margin.min_rate : margin.max_rate;
    const double fast = ticks >= 0.0 ? margin.max_rate : margin.min_rate;
    snapshot.hard_earliest_ns =
        std::min(snapshot.hard_earliest_ns,
                 margin.tai.earliest + static_cast<Nanoseconds>(std::floor(ticks * slow)));
    snapshot.hard_latest_ns =
        std::max(snapshot.hard_latest_ns,
                 margin.tai.latest + static_cast<Nanoseconds>(std::ceil(ticks * fast)));
    snapshot.min_tai_ns_per_tick = std::min(snapshot.min_tai_ns_per_tick, margin.min_rate);
    snapshot.max_tai_ns_per_tick = std::max(snapshot.max_tai_ns_per_tick, margin.max_rate);
    if (margin.estimate_good) {
      snapshot.anchor_tai_ns = margin.estimate_ns + std::llround(age_ns);
    }
  }
  snapshot.hard_earliest_ns = saturating_add(snapshot.hard_earliest_ns, -margin.guard_ns);
  snapshot.hard_latest_ns = saturating_add(snapshot.hard_latest_ns, margin.guard_ns);
  if (margin.suspected) snapshot.state = ClockState::kSuspect;
}

Result<std::unique_ptr<GossipThread>> GossipThread::open(const Options::Gossip& options,
                                                         std::uint32_t epoch,
                                                         const Seqlock<ClockSnapshot>& own,
                                                         const ProfileTable* profiles) {
  Result<std::vector<ClientKey>> keys = load_key_file(options.key_file);
  if (!keys.ok()) return Error{"gossip.key_file: " + keys.error().message};
  if (keys->size() != 1)
    return Error{"gossip.key_file: " + options.key_file + " must have one key"};
  Result<PeerList> peers = parse_peers(options.peers);
  if (!peers.ok()) return Error{"gossip.peers: " + peers.error().message};
  HostPort where;
  std::uint32_t ipv4 = 0;
  if (!parse_host_port(options.address, where) || !parse_ipv4(where.host, ipv4)) {
    return Error{"gossip.address = \"" + options.address + "\": allowed is an IPv4 ADDRESS:PORT"};
  }
  Result<std::unique_ptr<GossipSocket>> socket = GossipSocket::open(ipv4, where.port);
  if (!socket.ok())
    return Error{"gossip.address: " + options.address + ": " + socket.error().message};
  GossipOptions gossip;
  gossip.self = static_cast<NodeId>(options.node_id);
  gossip.epoch = epoch;
  gossip.key = keys->front().key;
  gossip.interval_ns = options.interval_ms * kMillisecond;
  gossip.fanout = static_cast<std::size_t>(options.fanout);
  gossip.exchanges = static_cast<std::size_t>(options.exchanges);
  gossip.seed = random_seed_word();
  return std::unique_ptr<GossipThread>(new GossipThread(
      gossip, *peers, static_cast<double>(options.client_error_us * kMicrosecond),
      std::move(socket).value(), own, profiles, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
}

GossipThread::GossipThread(const GossipOptions& options, const PeerList& peers,
                           double client_error_ns, std::unique_ptr<GossipSocket> socket,
                           const Seqlock<ClockSnapshot>& own, const ProfileTable* profiles,
                           int wake)
    : options_(options),
      client_error_ns_(client_error_ns),
      socket_(std::move(socket)),
      own_(own),
      profiles_(profiles),
      wake_(wake),
      ns_per_tick_(nominal_ns_per_tick()),
      ticks_begin_(read_ticks()),
      gossip_(options, peers),
      adjustment_({}) {
  send_ = [this](Outgoing& out) {
    const std::span<const std::uint8_t> bytes = out.finish(options_.key, local_of(read_ticks()));
    socket_->send(bytes, out.to.ipv4, out.to.udp_port);
  };
}

GossipThread::~GossipThread() {
  stop();
  close(wake_);
}

void GossipThread::start() {
  thread_ = std::jthread([this](const std::stop_token& stopping) {
    pthread_setname_np(pthread_self(), "gossip");
    run(stopping);
  });
}

void GossipThread::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  eventfd_write(wake_, 1);
  thread_.join();
}

GossipReport GossipThread::report() const {
  const std::lock_guard lock(mutex_);
  return report_;
}

void GossipThread::set_peers(const PeerList& peers) {
  const std::lock_guard lock(mutex_);
  new_peers_ = std::make_unique<PeerList>(peers);
  eventfd_write(wake_, 1);
}

void GossipThread::take_new_peers() {
  std::unique_ptr<PeerList> peers;
  {
    const std::lock_guard lock(mutex_);
    peers = std::move(new_peers_);
  }
  if (peers) gossip_.set_peers(*peers);
}

// The local timescale begins a second before the thread, so that every instant of it is positive.
Nanoseconds GossipThread::local_of(std::uint64_t ticks) const {
  return kSecond +
         std::llround(static_cast<double>(static_cast<std::int64_t>(ticks - ticks_begin_)) *
                      ns_per_tick_);
}

LocalNow GossipThread::now_at(std::uint64_t ticks) const {
  const ClockSnapshot snapshot = own_.load();
  LocalNow now;
  now.local_ns = local_of(ticks);
  now.clock = read_clock(snapshot, ticks);
  now.stage = adjustment_.stage();
  if (now.clock.state == ClockState::kLost) return now;
  now.rate = {snapshot.min_tai_ns_per_tick / ns_per_tick_,
              snapshot.max_tai_ns_per_tick / ns_per_tick_};
  now.rate_ppb = (snapshot.tai_ns_per_tick / ns_per_tick_ - 1.0) * 1e9;
  return now;
}

void GossipThread::run(const std::stop_token& stopping) {
  while (!stopping.stop_requested()) {
    take_new_peers();
    gossip_.step(now_at(read_ticks()), send_);
    socket_->wait(wake_, gossip_.due_local_ns() - local_of(read_ticks()));
    std::uint64_t ignored = 0;
    static_cast<void>(!read(wake_, &ignored, sizeof(ignored)));
    static_cast<void>(drain_socket());
    evaluate();
  }
}

bool GossipThread::drain_socket() {
  gossip::Buffer buffer;
  bool news = false;
  constexpr int kAtOnce = 64;
  for (int i = 0; i < kAtOnce; ++i) {
    const GossipSocket::Received received = socket_->receive(buffer);
    if (received.length == 0) break;
    stamped_by_kernel_ += received.stamp == StampSource::kSoftware ? 1 : 0;
    news |= gossip_.receive({buffer.data(), received.length}, local_of(received.ticks),
                            now_at(read_ticks()), send_);
  }
  return news;
}

}  // namespace driftlock
