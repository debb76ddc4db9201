// ChronySource: the system clock as chronyd keeps it, with the error that chronyd's tracking report
// admits to. Asked over chronyd's command port (UDP on this machine, no privilege needed). Owned by
// the clock thread. Invariant: a sample counts as synchronized only while chronyd answers and
// follows a reference; chronyd may stop or restart, and nothing here fails but the sample.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "hw/chrony_message.hpp"
#include "src/clock/source.hpp"

namespace driftlock {

struct ChronyOptions {
  std::uint16_t port = 323;  // chronyd's `cmdport`, on 127.0.0.1
  Nanoseconds timeout_ns = 20 * kMillisecond;
};

class ChronySource final : public ClockSource {
 public:
  // `clock` reads the system clock; its own max_error_ns is replaced by chronyd's.
  ChronySource(std::unique_ptr<ClockSource> clock, const ChronyOptions& options);
  ~ChronySource() override;
  ChronySource(const ChronySource&) = delete;
  ChronySource& operator=(const ChronySource&) = delete;

  [[nodiscard]] Result<ClockSample> sample() override;
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] const ChronyTracking& tracking() const { return tracking_; }

 private:
  [[nodiscard]] Status connect();
  [[nodiscard]] Result<ChronyTracking> ask();
  void disconnect();

  std::unique_ptr<ClockSource> clock_;
  ChronyOptions options_;
  ChronyTracking tracking_;
  std::uint32_t sequence_;
  int socket_ = -1;
};

}  // namespace driftlock
