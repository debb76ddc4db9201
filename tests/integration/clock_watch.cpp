// Runs the clock over a ptp4l that only measures (free_running), or over chronyd, and prints what
// is published, one line each 200 ms: state, hard half width, grandmaster or reference, reason.
// usage: clock_watch PTP4L_SOCKET | chrony
#include <cstdio>
#include <ctime>
#include <functional>
#include <memory>
#include <string>

#include "hw/chrony_source.hpp"
#include "hw/ptp4l_source.hpp"
#include "hw/system_clock_source.hpp"
#include "hw/tick_counter.hpp"
#include "src/clock/discipline.hpp"

namespace {

using namespace driftlock;

// `reference` names what the source follows.
void watch(ClockSource& source, const std::function<std::string()>& reference) {
  Seqlock<ClockSnapshot> published;
  ClockModelOptions model;
  model.ns_per_tick = nominal_ns_per_tick();
  model.holdover_after_ns = kSecond;
  model.estimator.bank.interval_s = 0.2;
  ClockDiscipline discipline(model, source, published);
  while (true) {
    discipline.step(read_ticks());
    const ClockReading now = read_clock(published.load(), read_ticks());
    std::printf("%s %lld %s %s\n", to_string(now.state),
                static_cast<long long>(now.state == ClockState::kLost ? -1 : now.tai.half_width()),
                reference().c_str(), discipline.reason().c_str());
    std::fflush(stdout);
    const timespec pause{0, 200'000'000};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: clock_watch PTP4L_SOCKET | chrony\n");
    return 2;
  }
  SystemClockOptions kernel;
  kernel.trust_unsynchronized = true;
  kernel.assumed_error_ns = 0;  // ptp4l or chronyd says how far off it is
  auto clock = std::make_unique<SystemClockSource>(kernel);
  if (std::string(argv[1]) == "chrony") {
    ChronySource source(std::move(clock), {});
    watch(source, [&] { return std::to_string(source.tracking().reference_id); });
  } else {
    Ptp4lOptions options;
    options.socket_path = argv[1];
    options.free_running = true;
    Ptp4lSource source(std::move(clock), options);
    watch(source, [&] { return to_string(source.state().grandmaster); });
  }
}
