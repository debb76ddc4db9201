// Metrics: what Prometheus scrapes, over HTTP from threads of its own. Everything is summed at the
// scrape from counters that others write; nothing waits for it. Names and units follow Prometheus'
// conventions (`promtool check metrics` finds nothing).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "src/base/result.hpp"
#include "src/node/node_view.hpp"

namespace driftlock {

class Metrics {
 public:
  // Serves from the moment it returns until it is destroyed. `address`: host:port.
  [[nodiscard]] static Result<std::unique_ptr<Metrics>> serve(const std::string& address,
                                                              const NodeView& view);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  struct Server;
  Metrics(std::unique_ptr<Server> server, std::string url);

  std::unique_ptr<Server> server_;
  std::string url_;
};

}  // namespace driftlock
