#include "tools/sim/node.hpp"

#include "src/lock/fast_path_impl.hpp"

namespace driftlock {
template class FastPath<sim::SimPort, sim::NodeTime, NoObserver>;
}

namespace driftlock::sim {

std::size_t SimPort::receive(std::span<Datagram> out) {
  std::size_t count = 0;
  while (count < out.size() && !arrivals_.empty()) {
    Datagram& datagram = out[count++];
    static_cast<void>(allocate(datagram));
    auto* buffer = static_cast<Buffer*>(datagram.buffer);
    Arrival& arrival = arrivals_.front();
    std::copy(arrival.packet.bytes.begin(), arrival.packet.bytes.end(), buffer->bytes.begin());
    datagram.length = static_cast<std::uint16_t>(arrival.packet.bytes.size());
    datagram.peer = {0x0A000001U + arrival.packet.client, arrival.packet.port, {}};
    datagram.stamp = {arrival.ticks, StampSource::kSimulated};
    buffer->request = std::move(arrival.packet.bytes);
    buffer->client = arrival.packet.client;
    buffer->tampered = arrival.packet.tampered;
    arrivals_.pop_front();
  }
  return count;
}

bool SimPort::allocate(Datagram& out) {
  if (free_.empty()) free_.push_back(std::make_unique<Buffer>());
  Buffer* buffer = free_.back().release();
  free_.pop_back();
  buffer->request.clear();
  buffer->tampered = false;
  out = Datagram{};
  out.buffer = buffer;
  out.payload = buffer->bytes.data();
  out.capacity = static_cast<std::uint16_t>(buffer->bytes.size());
  return true;
}

void SimPort::send(std::span<Datagram> datagrams) {
  for (Datagram& datagram : datagrams) {
    auto* buffer = static_cast<Buffer*>(datagram.buffer);
    Sent out;
    out.packet.client = datagram.peer.ipv4 - 0x0A000001U;
    out.packet.port = datagram.peer.udp_port;
    out.packet.bytes.assign(datagram.payload, datagram.payload + datagram.length);
    out.request = std::move(buffer->request);
    out.request_tampered = buffer->tampered;
    sent.push_back(std::move(out));
    release(datagram);
  }
}

void SimPort::release(Datagram& datagram) {
  free_.emplace_back(static_cast<Buffer*>(datagram.buffer));
}

void SimPort::arrive(Packet packet, std::uint64_t ticks) {
  if (arrivals_.size() < kQueueMax) arrivals_.push_back({std::move(packet), ticks});
}

SimNode::SimNode(Events& events, Network& network, Monitor& monitor, const NodePlan& plan,
                 Random random)
    : events_(events),
      network_(network),
      monitor_(monitor),
      plan_(plan),
      random_(random),
      time_(events, Random(random_.next(), 1), plan.drift, plan.half_width_ns) {}

SimNode::~SimNode() = default;

// As the daemon does: the epoch and a first horizon are on disk before anything is promised.
void SimNode::start() {
  ++life_;
  ++epoch_;
  ready_after_tai_ns_ = horizon_tai_ns_;
  if (const ClockReading now = time_.read(); now.state != ClockState::kLost) {
    horizon_tai_ns_ = std::max(horizon_tai_ns_, now.tai.latest + plan_.horizon_step_ns);
  }
  held_back_ = false;
  frozen_until_ns_ = kLongAgo;
  EngineOptions options = plan_.engine;
  options.epoch = epoch_;
  options.node_secret = SecretKey{{random_.next(), random_.next(), random_.next(), epoch_}};
  options.ready_after_tai_ns = ready_after_tai_ns_;
  counters_ = std::make_unique<FastPathCounters>();
  engine_ = std::make_unique<Engine>(options, plan_.keyring, std::pmr::new_delete_resource());
  engine_->set_lease_horizon(horizon_tai_ns_);
  fast_path_ = std::make_unique<Fast>(port_, time_, *engine_, observer_, *counters_);
  old_leases_end_ns_ =
      monitor_.promised_tai_ns() == kLongAgo ? kLongAgo : monitor_.promised_tai_ns() - kStartTai;
  monitor_.restarted();
  monitor_.excuse();
  events_.trace("node starts, epoch " + std::to_string(epoch_));
  next_turn_ns_ = kNever;
  look_at_horizon();
  plan_turn(events_.now_ns());
}

void SimNode::crash() {
  ++life_;
  events_.trace("node crashes");
  fast_path_.reset();
  engine_.reset();
  port_.forget();
  port_.sent.clear();
  writing_ = false;
}

void SimNode::freeze(Nanoseconds until_ns) {
  if (!up()) return;
  // It may be stopped between looking at the clock and sending what it answered.
  const bool between = random_.chance(0.5);
  if (between) {
    held_back_ = true;
    turn();
  }
  frozen_until_ns_ = std::max(frozen_until_ns_, until_ns);
  const std::uint64_t life = life_;
  events_.at(until_ns, [this, life] {
    if (life != life_ || events_.now_ns() < frozen_until_ns_) return;
    held_back_ = false;
    flush();
    monitor_.excuse();
    turn();
  });
}

void SimNode::arrive(Packet packet) {
  if (!up()) return;
  port_.arrive(std::move(packet), time_.ticks());
  plan_turn(events_.now_ns() + random_.between(kMicrosecond, 20 * kMicrosecond));
}

// The clock thread stops with the rest of a frozen node; a crash of the daemon it survives no more
// than anything else, but starts again before the lcore does.
void SimNode::publish_clock() {
  if (events_.now_ns() >= frozen_until_ns_) time_.publish();
}

void SimNode::plan_turn(Nanoseconds when_ns) {
  if (when_ns >= next_turn_ns_) return;
  next_turn_ns_ = when_ns;
  const std::uint64_t life = life_;
  events_.at(when_ns, [this, life, when_ns] {
    if (life != life_ || when_ns != next_turn_ns_) return;
    turn();
  });
}

void SimNode::turn() {
  next_turn_ns_ = kNever;
  if (events_.now_ns() < frozen_until_ns_) return;
  const ClockReading now = time_.read();
  if (now.state == ClockState::kLost) monitor_.excuse();
  static_cast<void>(fast_path_->poll());
  for (const SimPort::Sent& sent : port_.sent) {
    if (sent.request.empty()) {
      monitor_.pushed(sent.packet.bytes);
    } else {
      monitor_.replied(sent.request, sent.packet.bytes, sent.request_tampered);
    }
  }
  monitor_.turn_over({now, ready_after_tai_ns_, horizon_tai_ns_, old_leases_end_ns_});
  if (!held_back_) flush();
  look_at_horizon();
  plan_turn(port_.waiting() || engine_->has_push() ? events_.now_ns() + kMicrosecond
                                                   : events_.now_ns() + plan_.poll_ns);
}

void SimNode::flush() {
  for (SimPort::Sent& sent : port_.sent) network_.send(std::move(sent.packet));
  port_.sent.clear();
}

// Another thread of the daemon keeps the horizon ahead of what is wanted. Writing takes a while.
void SimNode::look_at_horizon() {
  const ClockReading now = time_.read();
  if (writing_ || now.state == ClockState::kLost) return;
  const Nanoseconds wanted_ns = std::max(engine_->lease_end_wanted(), now.tai.latest);
  if (wanted_ns + plan_.horizon_step_ns / 2 < horizon_tai_ns_) return;
  const Nanoseconds horizon_ns = wanted_ns + plan_.horizon_step_ns;
  writing_ = true;
  const std::uint64_t life = life_;
  events_.after(random_.spread(100 * kMicrosecond, 50 * kMillisecond), [this, life, horizon_ns] {
    if (life != life_) return;  // it may or may not have reached the disk: take the worse
    writing_ = false;
    horizon_tai_ns_ = horizon_ns;
    engine_->set_lease_horizon(horizon_ns);
  });
}

}  // namespace driftlock::sim
