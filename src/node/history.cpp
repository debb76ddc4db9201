#include "src/node/history.hpp"

#include <pthread.h>

#include <algorithm>
#include <chrono>

namespace driftlock {

History::History(const NodeView& view)
    : view_(view), before_(totals()), thread_([this](const std::stop_token& stopping) {
        pthread_setname_np(pthread_self(), "history");
        run(stopping);
      }) {}

History::~History() = default;

void History::run(const std::stop_token& stopping) {
  std::unique_lock lock(mutex_);
  while (!stopping.stop_requested()) {
    lock.unlock();
    const Sample sample = take();
    lock.lock();
    ring_[count_++ % kSamplesMax] = sample;
    wake_.wait_for(lock, stopping, std::chrono::seconds(1), [] { return false; });
  }
}

History::Totals History::totals() const {
  Totals sum;
  const auto& operations = view_.counters.operations;
  const auto count = [&](wire::Op op, wire::Status status) {
    return operations[static_cast<std::size_t>(op)][static_cast<std::size_t>(status)].read();
  };
  for (const wire::Op op : {wire::Op::kAcquire, wire::Op::kAcquireGroup}) {
    sum.grants += count(op, wire::Status::kOk);
    for (std::size_t status = 0; status < wire::kStatusCount; ++status) {
      const auto result = static_cast<wire::Status>(status);
      if (result == wire::Status::kOk || result == wire::Status::kQueued) continue;
      sum.refusals += count(op, result);
    }
  }
  sum.grants += view_.gauges.grants_pushed.read();
  sum.releases = count(wire::Op::kRelease, wire::Status::kOk);
  for (std::size_t reason = 1; reason < wire::kRejectCount; ++reason) {
    sum.rejected += view_.counters.rejected[reason].read();
  }
  return sum;
}

History::Sample History::take() {
  Sample sample;
  sample.unix_ns = unix_now_ns();
  const ClockReading now = view_.clock.now();
  sample.state = now.state;
  if (now.state != ClockState::kLost) {
    sample.earliest_ns = now.tai.earliest - now.estimate_ns;
    sample.latest_ns = now.tai.latest - now.estimate_ns;
    sample.sigma_ns = static_cast<Nanoseconds>(now.sigma_ns);
  }
  const Totals sum = totals();
  sample.grants = sum.grants - before_.grants;
  sample.releases = sum.releases - before_.releases;
  sample.refusals = sum.refusals - before_.refusals;
  sample.rejected = sum.rejected - before_.rejected;
  before_ = sum;
  sample.sessions = view_.gauges.sessions_active.read();
  sample.locks = view_.gauges.locks_in_use.read();
  sample.waiters = view_.gauges.waiters.read();
  return sample;
}

std::vector<History::Sample> History::samples() const {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t first = count_ - std::min<std::uint64_t>(count_, kSamplesMax);
  std::vector<Sample> out;
  out.reserve(count_ - first);
  for (std::uint64_t i = first; i < count_; ++i) out.push_back(ring_[i % kSamplesMax]);
  return out;
}

}  // namespace driftlock
