// Runs the clock over a ptp4l that only measures (free_running) and prints what is published, one
// line each 200 ms: state, hard half width, estimate less the machine's own clock, reason.
// usage: clock_watch PTP4L_SOCKET
#include <cstdio>
#include <ctime>
#include <memory>

#include "hw/ptp4l_source.hpp"
#include "hw/system_clock_source.hpp"
#include "hw/tick_counter.hpp"
#include "src/clock/discipline.hpp"

int main(int argc, char** argv) {
  using namespace driftlock;
  if (argc != 2) {
    std::fprintf(stderr, "usage: clock_watch PTP4L_SOCKET\n");
    return 2;
  }
  SystemClockOptions kernel;
  kernel.trust_unsynchronized = true;
  kernel.assumed_error_ns = 0;  // ptp4l says how far off it is
  Ptp4lOptions options;
  options.socket_path = argv[1];
  options.free_running = true;
  Ptp4lSource source(std::make_unique<SystemClockSource>(kernel), options);
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
                to_string(source.state().grandmaster).c_str(), discipline.reason().c_str());
    std::fflush(stdout);
    const timespec pause{0, 200'000'000};
    nanosleep(&pause, nullptr);
  }
}
