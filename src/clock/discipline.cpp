#include "src/clock/discipline.hpp"

namespace driftlock {

void ClockDiscipline::step(std::uint64_t now) {
  const Result<ClockSample> sample = source_.sample();
  if (!sample.ok()) {
    reason_ = sample.error().message;
    model_.missed(now);
  } else {
    reason_.clear();
    if (!sample->synchronized) reason_ = source_.name() + " is not synchronized to a reference";
    model_.update(sample.value());
  }
  if (reason_.empty() && model_.state() == ClockState::kLost) {
    reason_ = source_.name() + " admits to an error beyond the configured limit";
  }
  published_.store(model_.snapshot());
}

}  // namespace driftlock
