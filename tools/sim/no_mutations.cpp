#include "tools/sim/mutation.hpp"

namespace driftlock::mutation {

std::span<const Mutation> all() {
  return {};
}

void activate(int) {}

}  // namespace driftlock::mutation
