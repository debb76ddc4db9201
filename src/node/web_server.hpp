// WebServer: what the node shows over HTTP, read only: /metrics for Prometheus; / a status page for
// people, with what it needs under /page/ and its figures under /api/. Threads of its own, a few;
// however many people look, the lock table is looked at once a second at most, and not at all while
// nobody does.
#pragma once

#include <memory>
#include <string>

#include "src/base/result.hpp"
#include "src/node/node_view.hpp"

namespace driftlock {

class WebServer {
 public:
  // Serves from the moment it returns until it is destroyed. `address`: host:port, port 0 is any.
  [[nodiscard]] static Result<std::unique_ptr<WebServer>> serve(const std::string& address,
                                                                const NodeView& view);
  ~WebServer();
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  [[nodiscard]] const std::string& metrics_url() const { return metrics_url_; }

 private:
  struct Server;
  WebServer(std::unique_ptr<Server> server, std::string metrics_url);

  std::unique_ptr<Server> server_;
  std::string metrics_url_;
};

}  // namespace driftlock
