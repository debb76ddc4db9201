// HorizonThread: keeps the lease horizon on the disk ahead of what clients ask for, so that after a
// crash the next life knows until when leases of this one may run. start() and stop() by the main
// thread. Invariant: the engine learns of a horizon once it is on the disk, never before; where the
// disk fails, leases end at the old one.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "src/lock/engine.hpp"
#include "src/node/life.hpp"

namespace driftlock {

class HorizonThread {
 public:
  HorizonThread(const Life& life, Engine& engine, std::function<ClockReading()> now);
  ~HorizonThread();
  HorizonThread(const HorizonThread&) = delete;
  HorizonThread& operator=(const HorizonThread&) = delete;

  void start();  // the first horizon is on the disk before it returns
  void stop();

 private:
  void run(const std::stop_token& stopping);
  void turn();

  const Life& life_;
  Engine& engine_;
  const std::function<ClockReading()> now_;
  Nanoseconds horizon_ns_ = kLongAgo;
  bool failing_ = false;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

}  // namespace driftlock
