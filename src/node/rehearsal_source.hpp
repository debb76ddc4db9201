// RehearsalSource: a simulated clock source on the node's real ticks, for rehearsing what the node
// does when its clock fails: faults are set while it runs, through the admin socket. Without a
// fault its time is the system's, so that the nodes of one machine agree; it means nothing to other
// machines. sample(): clock thread; set_faults(): one other.
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
  Nanoseconds tai_ns_;      // of the latest sample, without faults
  SimulatedSource source_;  // guarded by mutex_
};

}  // namespace driftlock
