#include "src/node/clock_thread.hpp"

#include <pthread.h>

#include <chrono>

#include "hw/chrony_source.hpp"
#include "hw/phc_source.hpp"
#include "hw/ptp4l_source.hpp"
#include "hw/system_clock_source.hpp"
#include "hw/tick_counter.hpp"
#include "src/node/log.hpp"
#include "src/node/rehearsal_source.hpp"

namespace driftlock {
namespace {

ClockModelOptions model_options(const Options::Clock& options) {
  ClockModelOptions model;
  model.ns_per_tick = nominal_ns_per_tick();
  model.tolerance_ppb = static_cast<double>(options.tolerance_ppb);
  model.worst_case_drift_ppb = static_cast<double>(options.worst_case_drift_ppb);
  model.asymmetry_ns = options.asymmetry_ns;
  model.lost_half_width_ns = options.lost_half_width_ns;
  model.holdover_after_ns = options.holdover_after_ms * kMillisecond;
  model.estimator.bank.interval_s = static_cast<double>(options.interval_ms) / 1e3;
  return model;
}

Result<std::unique_ptr<ClockSource>> open_bare_source(const Options::Clock& options) {
  if (options.source == "phc") {
    Result<std::unique_ptr<PhcSource>> source =
        PhcSource::open({.device = options.phc_device,
                         .max_error_ns = options.phc_max_error_ns,
                         .to_tai_ns = options.phc_to_tai_ns,
                         .readings = static_cast<int>(options.phc_readings)});
    if (!source.ok()) return Error{"clock.phc_device: " + source.error().message};
    return std::unique_ptr<ClockSource>(std::move(source).value());
  }
  if (options.source == "simulated") {
    return std::unique_ptr<ClockSource>(std::make_unique<RehearsalSource>());
  }
  if (options.source == "chrony") {
    // Whatever the kernel was told: chronyd itself says how far off it is.
    SystemClockOptions kernel{.trust_unsynchronized = true,
                              .assumed_error_ns = 0,
                              .default_tai_offset_s = static_cast<int>(options.tai_offset_s)};
    return std::unique_ptr<ClockSource>(std::make_unique<ChronySource>(
        std::make_unique<SystemClockSource>(kernel),
        ChronyOptions{.port = static_cast<std::uint16_t>(options.chrony_port)}));
  }
  return std::unique_ptr<ClockSource>(std::make_unique<SystemClockSource>(
      SystemClockOptions{.trust_unsynchronized = options.trust_unsynchronized,
                         .assumed_error_ns = options.assumed_error_ns,
                         .default_tai_offset_s = static_cast<int>(options.tai_offset_s)}));
}

}  // namespace

TimeSource time_source_of(const Options::Clock& options) {
  if (options.source == "simulated") return TimeSource::kSimulated;
  if (options.source == "chrony") return TimeSource::kChrony;
  if (!options.ptp4l_socket.empty()) return TimeSource::kPtp4l;
  return options.source == "phc" ? TimeSource::kPhc : TimeSource::kSystem;
}

Result<std::unique_ptr<ClockSource>> open_clock_source(const Options::Clock& options) {
  Result<std::unique_ptr<ClockSource>> source = open_bare_source(options);
  const bool kept_by_ptp4l = options.source == "phc" || options.source == "system";
  if (!source.ok() || options.ptp4l_socket.empty() || !kept_by_ptp4l) return source;
  return std::unique_ptr<ClockSource>(std::make_unique<Ptp4lSource>(
      std::move(source).value(), Ptp4lOptions{.socket_path = options.ptp4l_socket,
                                              .free_running = options.ptp4l_free_running}));
}

ClockThread::ClockThread(const Options::Clock& options, std::unique_ptr<ClockSource> source,
                         std::function<void()> each_turn)
    : interval_ns_(options.interval_ms * kMillisecond),
      source_(std::move(source)),
      each_turn_(std::move(each_turn)),
      model_(model_options(options)) {
  report_.source = source_->name();
}

ClockThread::~ClockThread() {
  stop();
}

void ClockThread::start() {
  turn();
  thread_ = std::jthread([this](const std::stop_token& stopping) {
    pthread_setname_np(pthread_self(), "clock");
    run(stopping);
  });
}

void ClockThread::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

ClockReading ClockThread::now() const {
  return read_clock(published_.load(), read_ticks());
}

ClockReport ClockThread::report() const {
  const std::lock_guard lock(mutex_);
  return report_;
}

void ClockThread::run(const std::stop_token& stopping) {
  auto next = std::chrono::steady_clock::now();
  while (true) {
    next += std::chrono::nanoseconds(interval_ns_);
    {
      std::unique_lock lock(mutex_);
      wake_.wait_until(lock, stopping, next, [] { return false; });
    }
    if (stopping.stop_requested()) return;
    turn();
    // After a long stop (a suspended machine) the missed turns are not made up for.
    next = std::max(next, std::chrono::steady_clock::now() - std::chrono::seconds(1));
  }
}

void ClockThread::turn() {
  std::string trouble;
  Result<ClockSample> sample = source_->sample();
  if (!sample.ok()) {
    trouble = sample.error().message;
  } else if (!sample->synchronized) {
    trouble = source_->name() + " says that it follows no reference";
  }
  if (trouble.empty()) {
    model_.update(*sample);
  } else {
    model_.missed(read_ticks());
  }
  ClockSnapshot snapshot = model_.snapshot();
  own_.store(snapshot);
  if (adjust_) adjust_(snapshot);
  published_.store(snapshot);
  if (segment_) segment_->publish(snapshot);
  tell_change(told_, trouble);
  {
    const std::lock_guard lock(mutex_);
    report_.source = source_->name();
    report_.trouble = std::move(trouble);
    report_.status = model_.status();
  }
  if (each_turn_) each_turn_();
}

void ClockThread::tell_change(ClockState before, const std::string& trouble) {
  const ClockReading reading = now();
  if (reading.state == before && report_.trouble == trouble) return;
  told_ = reading.state;
  const bool good = reading.state == ClockState::kSync && trouble.empty();
  log_line(good ? LogLevel::kInfo : LogLevel::kWarning, "clock",
           {{"state", to_string(reading.state)},
            {"was", to_string(before)},
            {"half_width_ns", std::to_string(reading.tai.half_width())},
            {"source", source_->name()},
            {"trouble", trouble.empty() ? "none" : trouble}});
}

}  // namespace driftlock
