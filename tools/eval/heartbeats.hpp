// Heartbeat traces for `driftlock-eval liveness`: read from a file (a send time in ns per line) or
// made in one of several shapes, and brought to the node through a model of delay and loss.
#pragma once

#include <string>
#include <vector>

#include "src/base/time.hpp"
#include "src/predict/random.hpp"

namespace driftlock::eval {

struct Heartbeat {
  Nanoseconds sent_ns = 0;
  Nanoseconds arrived_ns = 0;
};

struct PathModel {
  double loss = 0.01;       // share lost
  double loss_again = 0.0;  // share lost right after a lost one; 0: as any (Gilbert's model else)
  double delay_ms = 1.0;    // median
  double jitter = 0.5;      // sigma of ln(delay)
  double spike = 0.0;  // share of delays drawn from a Pareto tail of shape 1.5, from 5 medians up
};

// What a generated trace is like.
struct TraceShape {
  std::string name;
  std::string what;
  PathModel path;
};
[[nodiscard]] const std::vector<TraceShape>& trace_shapes();

// Send times; empty where there is no such shape.
[[nodiscard]] std::vector<Nanoseconds> make_sends(const std::string& shape, unsigned count,
                                                  double period_ms, Random& random);
// Sorted; lines that are no numbers and blank ones are passed over.
[[nodiscard]] std::vector<Nanoseconds> read_sends(const std::string& path);

// Those that arrive, in order of arrival.
[[nodiscard]] std::vector<Heartbeat> deliver(const std::vector<Nanoseconds>& sends,
                                             const PathModel& path, Random& random);

}  // namespace driftlock::eval
