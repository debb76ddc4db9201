// ClockThread: samples a source at each interval, feeds the model, publishes the snapshot that the
// lcores read. start() and stop() by the main thread; report() by any control thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "hw/clock_segment.hpp"
#include "src/base/seqlock.hpp"
#include "src/clock/clock_model.hpp"
#include "src/clock/source.hpp"
#include "src/lock/time_source.hpp"
#include "src/node/options.hpp"

namespace driftlock {

struct ClockReport {
  std::string source;
  std::string trouble;  // why the source could not be read the last time; empty: it could
  ClockStatus status;   // at the latest sample
};

class ClockThread {
 public:
  // `each_turn` is run after every sample: for devices that want a look in now and then.
  ClockThread(const Options::Clock& options, std::unique_ptr<ClockSource> source,
              std::function<void()> each_turn);
  ~ClockThread();
  ClockThread(const ClockThread&) = delete;
  ClockThread& operator=(const ClockThread&) = delete;

  // Every snapshot goes there as well; before start().
  void share(std::unique_ptr<ClockSegmentWriter> segment) { segment_ = std::move(segment); }
  // Changes every snapshot between own() and published(); before start().
  void adjust_by(std::function<void(ClockSnapshot&)> adjust) { adjust_ = std::move(adjust); }
  void start();  // the first sample is taken before it returns
  void stop();

  [[nodiscard]] const Seqlock<ClockSnapshot>& published() const { return published_; }
  // What this node's source alone says.
  [[nodiscard]] const Seqlock<ClockSnapshot>& own() const { return own_; }
  [[nodiscard]] ClockReading now() const;
  [[nodiscard]] ClockReport report() const;

 private:
  void run(const std::stop_token& stopping);
  void turn();
  void tell_change(ClockState before, const std::string& trouble);

  const Nanoseconds interval_ns_;
  const std::unique_ptr<ClockSource> source_;
  const std::function<void()> each_turn_;
  ClockModel model_;  // clock thread
  std::function<void(ClockSnapshot&)> adjust_;
  Seqlock<ClockSnapshot> own_;        // writer: clock thread; readers: any
  Seqlock<ClockSnapshot> published_;  // writer: clock thread; readers: any
  std::unique_ptr<ClockSegmentWriter> segment_;
  ClockState told_ = ClockState::kLost;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  ClockReport report_;  // guarded by mutex_
  std::jthread thread_;
};

// What the node says that it follows.
[[nodiscard]] TimeSource time_source_of(const Options::Clock& options);

// The source that the options name.
[[nodiscard]] Result<std::unique_ptr<ClockSource>> open_clock_source(const Options::Clock& options);

}  // namespace driftlock
