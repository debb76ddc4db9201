// Mutations: deliberate bugs that the simulator must find. The shipped sources have none and no
// place for any: with -Dmutants=true, mutate.py makes a copy of them in the build directory in
// which each bug of mutations.py can be switched on. In the plain build the list is empty.
#pragma once

#include <span>

namespace driftlock::mutation {

struct Mutation {
  const char* name;
  const char* what;
};

[[nodiscard]] std::span<const Mutation> all();
// Switches on that one; -1: none. Of this thread.
void activate(int index);

}  // namespace driftlock::mutation
