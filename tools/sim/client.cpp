#include "tools/sim/client.hpp"

#include <algorithm>

namespace driftlock::sim {
namespace {

using client::Completion;
using client::Event;
using client::EventKind;

}  // namespace

SimClient::SimClient(Events& events, Network& network, Oracle& oracle, check::History& history,
                     const ClientPlan& plan, Random random)
    : events_(events),
      network_(network),
      oracle_(oracle),
      history_(history),
      plan_(plan),
      random_(random),
      counter_(random_.between(kSecond, 1000 * kSecond)) {
  set_drift(0.2 * random_.both_ways());
  offset_ns_ = random_.between(-kSecond, kSecond);
}

std::string SimClient::describe() const {
  if (core_ == nullptr) return "down";
  std::string text = core_->is_open() ? "open" : "not open";
  for (const Task& task : tasks_) {
    text += task.doing == Doing::kThinking     ? " thinking"
            : task.doing == Doing::kAcquiring  ? " acquiring"
            : task.doing == Doing::kHolding    ? " holding"
            : task.doing == Doing::kConverting ? " converting"
                                               : " releasing";
  }
  return text;
}

void SimClient::trace(const std::string& line) const {
  events_.trace("client " + std::to_string(plan_.index) + " " + line);
}

void SimClient::start() {
  ++life_;
  trace("starts");
  core_ = std::make_unique<client::SessionCore>(
      plan_.session, SecretKey{{random_.next(), random_.next(), random_.next(), random_.next()}});
  tasks_.assign(plan_.tasks, Task{});
  wake_ns_ = kNever;
  core_->open(read());
  if (working_) {
    for (std::size_t i = 0; i < tasks_.size(); ++i) begin_task(i);
  }
  if (probing_ && !probed_) probe();
  pump();
}

void SimClient::crash() {
  if (core_ == nullptr) return;
  trace("crashes");
  for (Task& task : tasks_) drop(task);
  ++life_;
  core_.reset();
  socket_.clear();
  missed_.clear();
  paused_until_ns_ = kLongAgo;
}

void SimClient::pause(Nanoseconds until_ns) {
  if (core_ == nullptr || until_ns <= paused_until_ns_) return;
  paused_until_ns_ = until_ns;
  trace("is stopped");
  const std::uint64_t life = life_;
  events_.at(until_ns, [this, life] {
    if (life != life_ || events_.now_ns() < paused_until_ns_) return;
    trace("goes on");
    oracle_.check_client(plan_.index);  // its program asks before anything else runs
    std::vector<Packet> socket;
    socket.swap(socket_);
    for (Packet& packet : socket) receive(std::move(packet));
    std::vector<std::function<void()>> missed;
    missed.swap(missed_);
    for (const auto& action : missed) {
      if (life == life_) action();
    }
    pump();
  });
}

void SimClient::set_drift(double part) {
  drift_ = std::clamp(part, -1.0, 1.0);
  const double bound = plan_.session.drift_bound;
  counter_.set_rate(events_.now_ns(), 1.0 + 0.98 * drift_ * bound / (1.0 + bound));
  plan_wake();
}

void SimClient::walk(Random& random, bool on) {
  walking_ = on;
  if (!on) return;
  set_drift(drift_ + 0.3 * random.both_ways());
  events_.after(100 * kMillisecond, [this, &random] {
    if (walking_) walk(random, true);
  });
}

client::LocalTime SimClient::read() {
  client::LocalTime time;
  time.local_ns = local_ns();
  if (!plan_.synchronized) {
    time.tai_ns = kStartTai + time.local_ns + offset_ns_;
    return time;
  }
  if (events_.now_ns() >= error_until_ns_) {
    error_until_ns_ = events_.now_ns() + 200 * kMillisecond;
    error_ns_ =
        static_cast<Nanoseconds>(random_.both_ways() * static_cast<double>(plan_.half_width_ns));
  }
  time.tai_ns = events_.true_tai() + error_ns_;
  time.tai = Interval::around(time.tai_ns, plan_.half_width_ns);
  time.state = ClockState::kSync;
  return time;
}

void SimClient::receive(Packet packet) {
  if (core_ == nullptr || packet.port != static_cast<std::uint16_t>(1000 + life_)) return;
  constexpr std::size_t kSocketMax = 64;
  if (events_.now_ns() < paused_until_ns_) {
    if (socket_.size() < kSocketMax) socket_.push_back(std::move(packet));
    return;
  }
  const std::uint64_t accepted = core_->counters().received;
  core_->receive(packet.bytes, read());
  if (packet.tampered && core_->counters().received != accepted) {
    events_.violate("forgery", "a client took a datagram that the node did not sign");
  }
  pump();
  oracle_.check_client(plan_.index);
}

void SimClient::pump() {
  if (core_ == nullptr || events_.now_ns() < paused_until_ns_) return;
  const std::uint64_t life = life_;
  for (bool more = true; more && life == life_;) {
    more = false;
    Completion completion;
    while (core_->next_completion(completion)) complete(completion);
    Event event;
    while (core_->next_event(event)) {
      trace("event " + std::to_string(static_cast<int>(event.kind)) + " " +
            wire::to_string(event.status));
      if (event.kind == EventKind::kLost) ++sessions_lost_;
      if (event.kind == EventKind::kClockStepped) {
        events_.violate("clock", "a client finds the node's clock stepped, which it was not");
      }
      if (event.kind == EventKind::kClosed && !closing_) core_->open(read());
    }
    std::array<std::uint8_t, wire::kDatagramBytesMax> out;
    while (const std::size_t bytes = core_->next_datagram(read(), out)) {
      network_.send({plan_.index,
                     static_cast<std::uint16_t>(1000 + life_),
                     true,
                     false,
                     {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(bytes)}});
      more = true;
    }
    if (core_->next_completion(completion)) {
      complete(completion);
      more = true;
    }
  }
  plan_wake();
}

void SimClient::plan_wake() {
  if (core_ == nullptr) return;
  const Nanoseconds local = core_->wake_at();
  if (local == kNever) return;
  const Nanoseconds when = std::max(counter_.when(local), events_.now_ns() + kMicrosecond);
  if (when >= wake_ns_ && wake_ns_ > events_.now_ns()) return;
  wake_ns_ = when;
  const std::uint64_t life = life_;
  events_.at(when, [this, life, when] {
    if (life != life_ || when != wake_ns_) return;
    wake_ns_ = kNever;
    pump();  // later, if it is stopped
  });
}

}  // namespace driftlock::sim
