// Deadlock report: who waits for whom, and where that goes round in a circle. Works on a picture of
// the lock table that a control thread took; nothing here touches the fast path. One lock at a time
// never deadlocks; a client that holds one and waits for another can.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace driftlock {

// `waiter` cannot go on before `blocker` lets go: it holds the lock, or stands before it in the
// queue. Sessions are named by their ids.
struct WaitEdge {
  std::uint64_t waiter = 0;
  std::uint64_t blocker = 0;
  std::uint32_t lock = 0;       // the caller's number for the lock
  std::uint32_t waited_ms = 0;  // so far
};

// One cycle, as its edges in order, for every knot of sessions that wait for each other (strongly
// connected component; R. Tarjan, SIAM J. Comput. 1(2), 1972). O(edges log edges).
[[nodiscard]] std::vector<std::vector<WaitEdge>> find_deadlocks(std::span<const WaitEdge> edges);

}  // namespace driftlock
