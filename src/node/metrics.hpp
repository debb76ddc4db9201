// What Prometheus scrapes. Everything is summed at the scrape, by the thread that serves it, from
// counters that others write; nothing waits for it. Names and units follow Prometheus' conventions
// (`promtool check metrics` finds nothing).
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

#include "src/node/node_view.hpp"

namespace driftlock {

[[nodiscard]] std::vector<prometheus::MetricFamily> collect_metrics(const NodeView& view);

class MetricWriter;
// What gossip finds about the clocks of the cluster. gossip_metrics.cpp
void write_gossip(MetricWriter& out, const GossipReport& report);

}  // namespace driftlock
