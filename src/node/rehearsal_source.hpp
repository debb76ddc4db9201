// RehearsalSource: a simulated clock source on the node's real ticks, for rehearsing what the node
// does when its clock fails: faults are set while it runs, through the admin socket. Its time is
// the kernel's at start, and means nothing to other machines. sample(): clock thread;
// set_faults(): one other.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "src/clock/simulated_source.hpp"

namespace driftlock {

class RehearsalSource final : public ClockSource {
 public:
  RehearsalSource();

  [[nodiscard]] Result<ClockSample> sample() override;
  [[nodiscard]] std::string name() const override { return "simulated"; }

  void set_faults(const SimulatedFaults& faults);
  [[nodiscard]] SimulatedFaults faults() const;

 private:
  mutable std::mutex mutex_;
  const double ns_per_tick_;
  std::uint64_t ticks_;     // of the latest sample
  SimulatedSource source_;  // guarded by mutex_
};

}  // namespace driftlock
