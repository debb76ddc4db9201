// Ptp4lSource: a clock that ptp4l keeps (a PHC, or the kernel's clock), judged by ptp4l itself: its
// port state, offset, path delay and grandmaster, asked over its management socket. Owned by the
// clock thread. Invariant: a sample counts as synchronized only while ptp4l answers and follows a
// grandmaster; ptp4l may stop, restart or never have run, and nothing here fails but the sample.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "hw/pmc_message.hpp"
#include "src/clock/source.hpp"

namespace driftlock {

// Asks ptp4l over its UNIX datagram socket. Never waits longer than the timeout in all.
class PmcClient {
 public:
  PmcClient(std::string server_path, std::uint8_t domain);
  ~PmcClient();
  PmcClient(const PmcClient&) = delete;
  PmcClient& operator=(const PmcClient&) = delete;

  [[nodiscard]] Result<Ptp4lState> ask(Nanoseconds timeout_ns);

 private:
  [[nodiscard]] Status connect();
  [[nodiscard]] Status get(PmcId id, Ptp4lState& state, Nanoseconds deadline_ns);
  void disconnect();

  std::string server_path_;
  std::string own_path_;
  std::uint8_t domain_;
  std::uint16_t sequence_ = 0;
  int socket_ = -1;
};

struct Ptp4lOptions {
  std::string socket_path = "/var/run/ptp4l";
  std::uint8_t domain = 0;
  Nanoseconds timeout_ns = 20 * kMillisecond;
  // Of a grandmaster that does not say how good it is (accuracy 0xFE).
  Nanoseconds unknown_accuracy_ns = kMillisecond;
  // ptp4l only measures (its own free_running): the clock is read and ptp4l's offset taken off.
  bool free_running = false;
};

// Hard error of a clock under ptp4l: |offset|, the mean path delay (what asymmetry can do at most),
// the grandmaster's accuracy. An Error, with the reason, where it follows none; a port that leads
// counts only with a reference of its own (class 6 or 7), not for having lost its master. Pure.
[[nodiscard]] Result<Nanoseconds> judge_ptp4l(const Ptp4lState& state, double worst_offset_ns,
                                              const Ptp4lOptions& options);

class Ptp4lSource final : public ClockSource {
 public:
  // `clock` is what ptp4l steers; its own max_error_ns counts on top.
  Ptp4lSource(std::unique_ptr<ClockSource> clock, const Ptp4lOptions& options);

  [[nodiscard]] Result<ClockSample> sample() override;
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] const Ptp4lState& state() const { return state_; }

 private:
  static constexpr std::size_t kOffsets = 16;

  std::unique_ptr<ClockSource> clock_;
  Ptp4lOptions options_;
  PmcClient client_;
  Ptp4lState state_;
  // The latest, or in free running how much they changed: the largest counts.
  std::array<double, kOffsets> offsets_{};
  std::size_t next_ = 0;
};

}  // namespace driftlock
