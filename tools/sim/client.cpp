#include "tools/sim/client.hpp"

#include <algorithm>

#include "tools/sim/history.hpp"

namespace driftlock::sim {
namespace {

using client::Completion;
using client::Event;
using client::EventKind;
using client::Operation;
using wire::Op;

constexpr Nanoseconds kWait = 20 * kSecond;  // of the last operation, which must succeed

std::string key_name(std::uint32_t key) {
  std::string name = "k" + std::to_string(key);
  if (key % 3 == 2) name.resize(50, 'x');  // keys longer than 24 bytes are kept elsewhere
  return name;
}

std::uint32_t key_number(const client::LockName& name) {
  return static_cast<std::uint32_t>(std::stoul(name.key().substr(1)));
}

}  // namespace

SimClient::SimClient(Events& events, Network& network, Oracle& oracle, History* history,
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
    text += task.doing == Doing::kThinking    ? " thinking"
            : task.doing == Doing::kAcquiring ? " acquiring"
            : task.doing == Doing::kHolding   ? " holding"
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

void SimClient::begin_task(std::size_t index) {
  Task& task = tasks_[index];
  task.doing = Doing::kThinking;
  task.id = 0;
  plan_act(index, random_.exponential(plan_.think_ns));
}

void SimClient::plan_act(std::size_t index, Nanoseconds delay_ns) {
  const std::uint64_t life = life_;
  const std::uint64_t turn = ++tasks_[index].turn;
  auto action = [this, life, turn, index] {
    if (life == life_ && tasks_[index].turn == turn) act(index);
  };
  events_.after(delay_ns, [this, life, action] {
    if (life != life_) return;
    if (events_.now_ns() < paused_until_ns_) {
      missed_.emplace_back(action);
    } else {
      action();
      pump();
    }
  });
}

// The task's time has come, whatever it was doing.
void SimClient::act(std::size_t index) {
  Task& task = tasks_[index];
  switch (task.doing) {
    case Doing::kThinking:
      if (working_) acquire(task, index);
      break;
    case Doing::kAcquiring:
      core_->cancel(task.id, read());
      break;
    case Doing::kHolding:
      look(index);
      break;
    case Doing::kReleasing:
      break;
  }
}

Operation SimClient::operation_on(std::uint32_t key) const {
  Operation operation;
  operation.op = Op::kAcquire;
  operation.name = client::LockName(1, key_name(key));
  const std::uint16_t size = oracle_.permits_of(key);
  if (size != 0) {
    operation.mode = wire::Mode::kSemaphore;
    operation.permits = 1;
    operation.permits_max = size;
  }
  return operation;
}

Operation SimClient::choose() {
  Operation operation = operation_on(static_cast<std::uint32_t>(random_.below(oracle_.keys())));
  if (operation.mode == wire::Mode::kSemaphore) {
    operation.permits = static_cast<std::uint16_t>(
        1 + random_.below(std::min<std::uint16_t>(operation.permits_max, 2)));
  } else if (random_.chance(0.4)) {
    operation.mode = wire::Mode::kShared;
  }
  if (random_.chance(0.7)) operation.wait_ns = random_.spread(kMillisecond, 6 * kSecond);
  operation.patience_ns = random_.spread(20 * kMillisecond, 3 * kSecond);
  if (random_.chance(0.3)) operation.hold_ns = plan_.hold_ns;
  return operation;
}

void SimClient::acquire(Task& task, std::size_t index) {
  if (random_.chance(0.01) && core_->is_open()) {
    trace("closes its session");
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      drop(tasks_[i]);
      if (tasks_[i].doing == Doing::kHolding) begin_task(i);
    }
    core_->close(read());
    return begin_task(index);
  }
  task.operation = choose();
  task.doing = Doing::kAcquiring;
  task.id = core_->submit(task.operation, read());
  trace("acquires " + task.operation.name.key().substr(0, 2) + " " +
        wire::to_string(task.operation.mode) + " wait " +
        std::to_string(task.operation.wait_ns / kMicrosecond) + " us, operation " +
        std::to_string(task.id));
  if (history_ != nullptr) {
    task.history = history_->invoke(events_.now_ns(), plan_.index, "acquire",
                                    task.operation.name.key(), wire::to_string(task.operation.mode),
                                    task.operation.permits, task.operation.permits_max, 0);
  }
  if (random_.chance(0.15)) plan_act(index, random_.spread(10 * kMicrosecond, 2 * kSecond));
}

void SimClient::complete(const Completion& completion) {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    Task& task = tasks_[i];
    if (task.id != completion.id || task.id == 0) continue;
    const bool answered = completion.verdict == client::Verdict::kAnswered;
    const bool ok = answered && completion.reply.status == wire::Status::kOk;
    trace("operation " + std::to_string(completion.id) + " " + wire::to_string(completion.op) +
          ": " + (answered ? wire::to_string(completion.reply.status) : "no answer") + " token " +
          std::to_string(std::uint64_t{completion.reply.token}));
    if (history_ != nullptr && answered) {
      history_->complete(events_.now_ns(), task.history, wire::to_string(completion.reply.status),
                         completion.reply.token);
    }
    if (completion.op == Op::kAcquire && ok) {
      granted(task, completion);
      if (!probing_) plan_act(i, random_.exponential(plan_.hold_ns) / 3);
    } else if (probing_ && completion.op == Op::kAcquire) {
      task.id = core_->submit(task.operation, read());  // until the run gives up on it
    } else {
      begin_task(i);
    }
    return;
  }
}

void SimClient::granted(Task& task, const Completion& completion) {
  task.doing = Doing::kHolding;
  Hold hold;
  hold.client = plan_.index;
  hold.key = key_number(task.operation.name);
  hold.mode = task.operation.mode;
  hold.permits = task.operation.permits;
  hold.token = completion.reply.token;
  hold.lock = completion.lock;
  hold.events = &events_;
  hold.believed_ns = events_.now_ns();
  hold.local_ns = [this] { return local_ns(); };
  task.hold = &oracle_.begin(hold);
  if (probing_) {
    probed_ = true;
    release(task);
  }
}

// A holder looks at its lock now and then, and gives it back at last.
void SimClient::look(std::size_t index) {
  Task& task = tasks_[index];
  const bool held = task.hold->believed();
  if (held && working_ && random_.chance(0.6)) {
    const bool long_hold = random_.chance(0.1);
    plan_act(index,
             long_hold ? random_.between(0, 3 * kSecond) : random_.exponential(plan_.hold_ns));
    return;
  }
  if (!held && random_.chance(0.5)) {  // it knows better than to release
    drop(task);
    begin_task(index);
    return;
  }
  release(task);
}

void SimClient::release(Task& task) {
  Operation operation = task.operation;
  operation.op = Op::kRelease;
  operation.token = task.hold->token;
  operation.wait_ns = 0;
  drop(task);
  task.doing = Doing::kReleasing;
  task.id = core_->submit(operation, read());
  trace("releases " + operation.name.key().substr(0, 2) + " token " +
        std::to_string(operation.token) + ", operation " + std::to_string(task.id));
  if (history_ != nullptr) {
    task.history = history_->invoke(events_.now_ns(), plan_.index, "release", operation.name.key(),
                                    wire::to_string(operation.mode), operation.permits,
                                    operation.permits_max, operation.token);
  }
}

void SimClient::drop(Task& task) {
  if (task.hold == nullptr) return;
  if (history_ != nullptr) {
    history_->lost(task.hold->believed_ns, plan_.index, task.operation.name.key(),
                   task.hold->token);
  }
  task.hold->over = true;
  task.hold = nullptr;
}

void SimClient::finish_work() {
  working_ = false;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (tasks_[i].doing == Doing::kHolding) plan_act(i, random_.exponential(plan_.hold_ns));
  }
}

bool SimClient::settled() const {
  if (core_ == nullptr || !core_->is_open() || !core_->idle()) return false;
  return std::all_of(tasks_.begin(), tasks_.end(),
                     [](const Task& task) { return task.doing == Doing::kThinking; });
}

void SimClient::probe() {
  probing_ = true;
  if (core_ == nullptr) return;
  Task& task = tasks_.front();
  ++task.turn;
  task.operation = operation_on(0);
  task.operation.wait_ns = kWait;
  task.doing = Doing::kAcquiring;
  task.id = core_->submit(task.operation, read());
  if (history_ != nullptr) {
    task.history = history_->invoke(events_.now_ns(), plan_.index, "acquire",
                                    task.operation.name.key(), wire::to_string(task.operation.mode),
                                    task.operation.permits, task.operation.permits_max, 0);
  }
  pump();
}

void SimClient::close() {
  closing_ = true;
  trace("closes its session for good");
  if (core_ != nullptr) core_->close(read());
  pump();
}

}  // namespace driftlock::sim
