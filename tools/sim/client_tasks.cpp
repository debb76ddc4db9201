// SimClient: what its tasks do with locks.
#include <algorithm>

#include "tools/sim/client.hpp"
#include "tools/sim/keys.hpp"

namespace driftlock::sim {
namespace {

using client::Completion;
using client::GroupMember;
using client::Operation;
using wire::Op;
using wire::Status;

constexpr Nanoseconds kWait = 20 * kSecond;  // of the last operation, which must succeed

check::HistoryOp history_op(Op op) {
  return op == Op::kRelease   ? check::HistoryOp::kRelease
         : op == Op::kConvert ? check::HistoryOp::kConvert
                              : check::HistoryOp::kAcquire;
}

bool answered(const Completion& completion, Status status) {
  return completion.verdict == client::Verdict::kAnswered && completion.reply.status == status;
}

}  // namespace

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
    case Doing::kConverting:
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
  const KeyPlan& plan = oracle_.plan_of(key);
  Operation operation;
  operation.op = Op::kAcquire;
  operation.name = client::LockName(plan.fence ? kFenceNamespace : kWaitNamespace, key_name(key));
  if (plan.permits != 0) {
    operation.mode = wire::Mode::kSemaphore;
    operation.permits = 1;
    operation.permits_max = plan.permits;
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
  if (operation.name.namespace_id == kFenceNamespace) operation.take_over = random_.chance(0.2);
  if (oracle_.keys() > 1 && random_.chance(plan_.groups)) {
    operation = choose_group(static_cast<std::uint32_t>(2 + random_.below(5)));
  }
  if (random_.chance(0.7)) operation.wait_ns = random_.spread(kMillisecond, 6 * kSecond);
  operation.patience_ns = random_.spread(20 * kMillisecond, 3 * kSecond);
  if (random_.chance(0.3)) operation.hold_ns = plan_.hold_ns;
  return operation;
}

// In any order, so that deadlock is the engine's to avoid.
Operation SimClient::choose_group(std::uint32_t count) {
  Operation operation;
  operation.op = Op::kAcquireGroup;
  const auto from = static_cast<std::uint32_t>(random_.below(oracle_.keys()));
  for (std::uint32_t i = 0; i < oracle_.keys() && operation.group.size() < count; ++i) {
    const std::uint32_t key = (from + i) % oracle_.keys();
    if (oracle_.plan_of(key).permits != 0) continue;
    operation.group.push_back({operation_on(key).name,
                               random_.chance(0.4) ? wire::Mode::kShared : wire::Mode::kExclusive});
  }
  if (random_.chance(0.5)) std::reverse(operation.group.begin(), operation.group.end());
  return operation;
}

void SimClient::close_session() {
  trace("closes its session");
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    drop(tasks_[i]);
    if (tasks_[i].doing == Doing::kHolding) begin_task(i);
  }
  core_->close(read());
}

void SimClient::acquire(Task& task, std::size_t index) {
  if (random_.chance(0.01) && core_->is_open()) {
    close_session();
    return begin_task(index);
  }
  task.operation = choose();
  task.doing = Doing::kAcquiring;
  submit(task, task.operation);
  if (random_.chance(0.15)) plan_act(index, random_.spread(10 * kMicrosecond, 2 * kSecond));
}

void SimClient::submit(Task& task, const Operation& operation) {
  record(task, operation);
  task.id = core_->submit(operation, read());
  if (!events_.tracing()) return;
  std::string line = std::string(wire::to_string(operation.op)) + " ";
  for (const GroupMember& member : operation.group) {
    line += member.name.key().substr(0, 2) + " " + wire::to_string(member.mode) + " ";
  }
  if (operation.group.empty()) {
    line += operation.name.key().substr(0, 2) + " " + wire::to_string(operation.mode) + " ";
  }
  trace(line + "token " + std::to_string(operation.token) + " wait " +
        std::to_string(operation.wait_ns / kMicrosecond) + " us" +
        (operation.take_over ? " take over" : "") + ", operation " + std::to_string(task.id));
}

void SimClient::record(Task& task, const Operation& operation) {
  check::HistoryOperation recorded;
  recorded.op = history_op(operation.op);
  recorded.client = plan_.index;
  recorded.called_ns = events_.now_ns();
  recorded.token = operation.token;
  recorded.take_over = operation.take_over;
  recorded.group = !operation.group.empty();
  task.recorded.clear();
  std::vector<GroupMember> locks = operation.group;
  if (locks.empty()) locks.push_back({operation.name, operation.mode});
  for (const GroupMember& lock : locks) {
    const bool semaphore = lock.mode == wire::Mode::kSemaphore;
    recorded.size = semaphore ? operation.permits_max : check::kAllPermits;
    recorded.permits = semaphore                             ? operation.permits
                       : lock.mode == wire::Mode::kExclusive ? check::kAllPermits
                                                             : 1;
    task.recorded.push_back(history_.invoke(lock.name.key(), recorded));
  }
}

void SimClient::record_answer(Task& task, const Completion& completion) {
  if (completion.verdict != client::Verdict::kAnswered) return;
  const Status status = completion.reply.status;
  const bool group = completion.op == Op::kAcquireGroup;
  for (std::size_t i = 0; i < task.recorded.size(); ++i) {
    // That a group could not be had says nothing of any one of its locks.
    const char* result = group && status == Status::kBusy ? "group_busy" : wire::to_string(status);
    const std::uint64_t token = group && i < completion.group.size()
                                    ? completion.group[i].token
                                    : std::uint64_t{completion.reply.token};
    history_.complete(events_.now_ns(), task.recorded[i], result, token);
  }
}

void SimClient::complete(const Completion& completion) {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (tasks_[i].id != completion.id || completion.id == 0) continue;
    tasks_[i].id = 0;
    const bool has_answer = completion.verdict == client::Verdict::kAnswered;
    trace("operation " + std::to_string(completion.id) + " " + wire::to_string(completion.op) +
          ": " + (has_answer ? wire::to_string(completion.reply.status) : "no answer") + " token " +
          std::to_string(std::uint64_t{completion.reply.token}));
    record_answer(tasks_[i], completion);
    return settle(i, completion);
  }
}

void SimClient::settle(std::size_t index, const Completion& completion) {
  Task& task = tasks_[index];
  if (completion.op == Op::kConvert) return converted(task, index, completion);
  if (completion.op == Op::kRelease && !task.holds.empty()) return release(task);
  const bool acquires = completion.op == Op::kAcquire || completion.op == Op::kAcquireGroup;
  if (acquires && answered(completion, Status::kOk)) {
    granted(task, completion);
    if (!probing_) plan_act(index, random_.exponential(plan_.hold_ns) / 3);
  } else if (probing_ && acquires) {
    submit(task, task.operation);  // until the run gives up on it
  } else {
    begin_task(index);
  }
}

void SimClient::granted(Task& task, const Completion& completion) {
  task.doing = Doing::kHolding;
  if (completion.op == Op::kAcquire) {
    hold(task, {task.operation.name, task.operation.mode}, completion.reply.token, completion.lock);
  } else {
    for (std::size_t i = 0; i < completion.group.size(); ++i) {
      hold(task, task.operation.group[i], completion.group[i].token, completion.group[i].lock);
    }
  }
  if (probing_) {
    probed_ = true;
    release(task);
  }
}

void SimClient::hold(Task& task, const GroupMember& member, std::uint64_t token,
                     const std::shared_ptr<client::LockView>& lock) {
  Hold hold;
  hold.client = plan_.index;
  hold.key = key_number(member.name.key());
  hold.mode = member.mode;
  hold.permits = task.operation.permits;
  hold.token = token;
  hold.lock = lock;
  hold.events = &events_;
  hold.local_ns = [this] { return local_ns(); };
  task.holds.push_back(&oracle_.begin(hold));
}

// A holder looks at its lock now and then, and gives it back at last.
void SimClient::look(std::size_t index) {
  Task& task = tasks_[index];
  bool held = true;
  for (const Hold* hold : task.holds) held = hold->believed() && held;
  if (held && working_ && random_.chance(0.6)) {
    if (random_.chance(plan_.converts) && may_convert(task)) return convert(task, index);
    const bool long_hold = random_.chance(0.1);
    plan_act(index,
             long_hold ? random_.between(0, 3 * kSecond) : random_.exponential(plan_.hold_ns));
    return;
  }
  if (!held && random_.chance(0.5)) {  // it knows better than to release what is lost
    std::vector<Hold*> kept;
    for (Hold* hold : task.holds) {
      if (hold->believed()) {
        kept.push_back(hold);
      } else {
        drop(*hold);
      }
    }
    task.holds = std::move(kept);
    if (task.holds.empty()) return begin_task(index);
  }
  release(task);
}

// A lock that another task has as well, under the same token, is left as it is: that task would not
// know. (A program's threads would have to tell each other, too.)
bool SimClient::may_convert(const Task& task) const {
  if (task.holds.size() != 1 || oracle_.plan_of(task.holds.front()->key).permits != 0) return false;
  const std::string key = key_name(task.holds.front()->key);
  return std::all_of(tasks_.begin(), tasks_.end(), [&](const Task& other) {
    if (&other == &task || other.doing == Doing::kThinking) return true;
    const auto names = [&](const GroupMember& member) { return member.name.key() == key; };
    return other.operation.name.key() != key &&
           std::none_of(other.operation.group.begin(), other.operation.group.end(), names);
  });
}

void SimClient::convert(Task& task, std::size_t index) {
  Hold& hold = *task.holds.front();
  Operation operation = operation_on(hold.key);
  operation.op = Op::kConvert;
  operation.token = hold.token;
  operation.patience_ns = random_.spread(20 * kMillisecond, 3 * kSecond);
  if (hold.mode == wire::Mode::kExclusive) {
    operation.mode = wire::Mode::kShared;
    hold.mode = wire::Mode::kShared;  // others may read from the moment at which the node hears it
  } else if (random_.chance(0.7)) {
    operation.wait_ns = random_.spread(kMillisecond, 3 * kSecond);
  }
  task.doing = Doing::kConverting;
  submit(task, operation);
  task.operation.op = Op::kConvert;
  task.operation.mode = operation.mode;
  if (random_.chance(0.1)) plan_act(index, random_.spread(10 * kMicrosecond, kSecond));
}

void SimClient::converted(Task& task, std::size_t index, const Completion& completion) {
  task.doing = Doing::kHolding;
  if (task.holds.empty()) return begin_task(index);  // closed meanwhile
  Hold& hold = *task.holds.front();
  if (answered(completion, Status::kOk)) {
    hold.lock = completion.lock != nullptr ? completion.lock : hold.lock;
    oracle_.converted(hold, task.operation.mode, completion.reply.token);
    plan_act(index, random_.exponential(plan_.hold_ns) / 3);
  } else if (completion.verdict == client::Verdict::kSessionLost) {
    plan_act(index, 0);  // reclaimed as it was, or lost: the lock's own view says
  } else {
    // Without an answer nobody knows in which mode it is held; after a deadlock one has to give
    // way.
    const bool gives_up = completion.verdict == client::Verdict::kUnreachable ||
                          answered(completion, Status::kDeadlock) || random_.chance(0.3);
    if (gives_up) return release(task);
    plan_act(index, random_.exponential(plan_.hold_ns) / 3);
  }
}

// The last of what the task holds; the answer brings the next.
void SimClient::release(Task& task) {
  Hold& hold = *task.holds.back();
  task.holds.pop_back();
  Operation operation = operation_on(hold.key);
  operation.op = Op::kRelease;
  operation.mode = hold.mode;
  operation.permits = hold.permits;
  operation.token = hold.token;
  drop(hold);
  task.doing = Doing::kReleasing;
  submit(task, operation);
}

void SimClient::drop(Task& task) {
  for (Hold* hold : task.holds) drop(*hold);
  task.holds.clear();
}

void SimClient::forget() {
  for (Task& task : tasks_) drop(task);
}

void SimClient::drop(Hold& hold) {
  if (hold.believed_ns != kLongAgo) {
    history_.held(hold.believed_ns, plan_.index, key_name(hold.key), hold.token);
  }
  hold.over = true;
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
  submit(task, task.operation);
  pump();
}

void SimClient::close() {
  closing_ = true;
  trace("closes its session for good");
  if (core_ != nullptr) core_->close(read());
  pump();
}

}  // namespace driftlock::sim
