#include "tools/clock/record.hpp"

#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <vector>

#include "hw/chrony_source.hpp"
#include "hw/phc_source.hpp"
#include "hw/ptp4l_events.hpp"
#include "hw/system_clock_source.hpp"
#include "hw/tick_counter.hpp"

namespace driftlock::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) {
  interrupted = 1;
}

Result<std::unique_ptr<ClockSource>> open_source(const std::string& name) {
  if (name == "system") {
    // A recording promises nothing: an unsynchronized clock is worth recording too.
    SystemClockOptions options;
    options.trust_unsynchronized = true;
    return std::unique_ptr<ClockSource>(std::make_unique<SystemClockSource>(options));
  }
  if (name == "chrony") {
    SystemClockOptions kernel;
    kernel.trust_unsynchronized = true;
    return std::unique_ptr<ClockSource>(std::make_unique<ChronySource>(
        std::make_unique<SystemClockSource>(kernel), ChronyOptions{}));
  }
  if (name.rfind("phc:", 0) != 0) return Error{"no such source: " + name};
  PhcOptions options;
  options.device = name.substr(4);
  auto phc = PhcSource::open(options);
  if (!phc.ok()) return phc.error();
  return std::unique_ptr<ClockSource>(std::move(phc.value()));
}

void pause_for(double seconds) {
  timespec span{};
  span.tv_sec = static_cast<time_t>(seconds);
  span.tv_nsec = static_cast<long>((seconds - static_cast<double>(span.tv_sec)) * 1e9);
  nanosleep(&span, nullptr);
}

void write_sample(std::FILE* out, const ClockSample& sample) {
  std::fprintf(out, "%llu %llu %lld %lld %lld %.6f %d\n",
               static_cast<unsigned long long>(sample.ticks_before),
               static_cast<unsigned long long>(sample.ticks_after),
               static_cast<long long>(sample.tai_ns), static_cast<long long>(sample.max_error_ns),
               static_cast<long long>(sample.estimated_error_ns), sample.steering_ppb,
               sample.synchronized ? 1 : 0);
  std::fflush(out);
}

// As comments, so that whoever reads samples passes them by.
void write_events(std::FILE* out, Ptp4lEvents* source, std::vector<Ptp4lEvent>& events) {
  if (source == nullptr) return;
  events.clear();
  source->drain(events);
  for (const Ptp4lEvent& event : events) {
    std::fprintf(out, "# ptp %s %u %lld %lld %.3f\n",
                 event.kind == Ptp4lEvent::Kind::kSync ? "sync" : "delay", event.sequence,
                 static_cast<long long>(event.sent_ns), static_cast<long long>(event.received_ns),
                 event.correction_ns);
  }
}

Result<std::unique_ptr<Ptp4lEvents>> open_events(const std::string& path) {
  if (path.empty()) return std::unique_ptr<Ptp4lEvents>();
  return Ptp4lEvents::listen(path);
}

}  // namespace

int record_command(const RecordOptions& options) {
  auto source = open_source(options.source);
  if (!source.ok()) {
    std::fprintf(stderr, "driftlock clock record: %s\n", source.error().message.c_str());
    return 2;
  }
  auto monitor = open_events(options.ptp4l_events);
  if (!monitor.ok()) {
    std::fprintf(stderr, "driftlock clock record: %s\n", monitor.error().message.c_str());
    return 2;
  }
  std::vector<Ptp4lEvent> events;
  std::FILE* out = options.out == "-" ? stdout : std::fopen(options.out.c_str(), "w");
  if (out == nullptr) {
    std::fprintf(stderr, "driftlock clock record: cannot write %s\n", options.out.c_str());
    return 2;
  }
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  (void)source.value()->sample();
  std::fprintf(out,
               "# driftlock clock samples, version 1; source %s; ns_per_tick %.12g\n"
               "# ticks_before ticks_after tai_ns max_error_ns estimated_error_ns steering_ppb "
               "synchronized\n",
               source.value()->name().c_str(), nominal_ns_per_tick());
  for (int n = 0; interrupted == 0 && (options.count == 0 || n < options.count); ++n) {
    if (n > 0) pause_for(options.interval_s);
    if (interrupted != 0) break;
    write_events(out, monitor.value().get(), events);
    const auto sample = source.value()->sample();
    if (sample.ok()) {
      write_sample(out, sample.value());
    } else {
      std::fprintf(out, "# %s\n", sample.error().message.c_str());
    }
  }
  if (out != stdout && std::fclose(out) != 0) {
    std::fprintf(stderr, "driftlock clock record: cannot write %s\n", options.out.c_str());
    return 2;
  }
  return 0;
}

}  // namespace driftlock::cli
