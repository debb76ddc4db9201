// ClockDiscipline: one step of the clock thread. It samples the source, feeds the model and
// publishes the snapshot. Owned by the clock thread; the seqlock's readers are anyone. Invariant:
// every step publishes, also where the source cannot be read, so that doubt grows in public.
#pragma once

#include <string>

#include "src/base/seqlock.hpp"
#include "src/clock/clock_model.hpp"
#include "src/clock/source.hpp"

namespace driftlock {

class ClockDiscipline {
 public:
  ClockDiscipline(const ClockModelOptions& options, ClockSource& source,
                  Seqlock<ClockSnapshot>& published)
      : model_(options), source_(source), published_(published) {}

  // `now` is the tick count at the call; used where the source gives no sample.
  void step(std::uint64_t now);

  [[nodiscard]] const ClockModel& model() const { return model_; }
  // Why the latest step had no usable sample; empty where it had one.
  [[nodiscard]] const std::string& reason() const { return reason_; }

 private:
  ClockModel model_;
  ClockSource& source_;
  Seqlock<ClockSnapshot>& published_;
  std::string reason_;
};

}  // namespace driftlock
