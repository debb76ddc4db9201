#include "src/node/horizon_thread.hpp"

#include <pthread.h>

#include <algorithm>
#include <chrono>

#include "src/node/log.hpp"

namespace driftlock {
namespace {

// A horizon is laid down kAheadNs past what is wanted and raised when less than kLeastNs of that is
// left: one write in three seconds, and after a crash a wait that much longer.
constexpr Nanoseconds kAheadNs = 4 * kSecond;
constexpr Nanoseconds kLeastNs = 1 * kSecond;
// A client that asks for a longer term than anybody before gets it at its next renewal.
constexpr auto kInterval = std::chrono::milliseconds(20);

}  // namespace

HorizonThread::HorizonThread(const Life& life, Engine& engine, std::function<ClockReading()> now)
    : life_(life), engine_(engine), now_(std::move(now)) {
  engine_.set_lease_horizon(kLongAgo);
}

HorizonThread::~HorizonThread() {
  stop();
}

void HorizonThread::start() {
  turn();
  thread_ = std::jthread([this](const std::stop_token& stopping) {
    pthread_setname_np(pthread_self(), "horizon");
    run(stopping);
  });
}

void HorizonThread::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

void HorizonThread::run(const std::stop_token& stopping) {
  while (!stopping.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stopping, kInterval, [] { return false; });
    }
    turn();
  }
}

void HorizonThread::turn() {
  const ClockReading now = now_();
  if (now.state == ClockState::kLost) return;  // nothing is promised
  const Nanoseconds wanted =
      std::max(engine_.lease_end_wanted(),
               saturating_add(now.tai.latest, engine_.options().term_default_ns));
  if (horizon_ns_ >= saturating_add(wanted, kLeastNs)) return;
  // The lives before may have promised more.
  const Nanoseconds horizon =
      std::max(saturating_add(wanted, kAheadNs), life_.leases_before_end_tai_ns());
  const Status recorded = life_.record_horizon(horizon);
  if (recorded.ok()) {
    horizon_ns_ = horizon;
    engine_.set_lease_horizon(horizon);
  }
  if (failing_ == recorded.ok()) {
    failing_ = !recorded.ok();
    log_line(failing_ ? LogLevel::kError : LogLevel::kInfo,
             failing_ ? "the lease horizon cannot be recorded; leases are not extended past it"
                      : "the lease horizon is recorded again",
             {{"trouble", failing_ ? recorded.error().message : "none"}});
  }
}

}  // namespace driftlock
