#include "src/node/web_server.hpp"

#include <httplib.h>
#include <prometheus/text_serializer.h>
#include <pthread.h>

#include <charconv>
#include <chrono>
#include <thread>

#include "src/node/metrics.hpp"
#include "src/node/status_page.hpp"

namespace driftlock {
namespace {

constexpr std::size_t kThreads = 4;
constexpr time_t kPatienceS = 5;  // for a peer that is slow to ask or to take its answer
constexpr std::size_t kRequestBytesMax = 4096;

const httplib::Headers kHeaders{
    // The page loads nothing from elsewhere, and nobody frames it.
    {"Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-store"},
};

std::int64_t since_of(const httplib::Request& request) {
  const std::string text = request.get_param_value("since");
  std::int64_t since = 0;
  std::from_chars(text.data(), text.data() + text.size(), since);
  return since;
}

}  // namespace

struct WebServer::Server {
  explicit Server(const NodeView& view) : node(view), page(view) { add_routes(); }

  void add_routes() {
    http.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    http.set_default_headers(kHeaders);
    http.set_read_timeout(kPatienceS);
    http.set_write_timeout(kPatienceS);
    http.set_keep_alive_timeout(kPatienceS);
    http.set_payload_max_length(kRequestBytesMax);
    http.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(prometheus::TextSerializer().Serialize(collect_metrics(node)),
                           "text/plain; version=0.0.4; charset=utf-8");
    });
    http.Get("/api/state", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(page.state_json(), "application/json");
    });
    http.Get("/api/history", [this](const httplib::Request& request, httplib::Response& response) {
      response.set_content(page.history_json(since_of(request)), "application/json");
    });
    http.Get("/.*", [](const httplib::Request& request, httplib::Response& response) {
      const PageFile* file = find_page_file(request.path);
      if (file == nullptr) {
        response.status = 404;
        response.set_content("not here: there are /, /metrics, /api/state, /api/history\n",
                             "text/plain");
        return;
      }
      response.set_content(file->bytes.data(), file->bytes.size(), std::string(file->content_type));
    });
  }

  const NodeView node;
  StatusPage page;
  httplib::Server http;
  std::thread thread;
};

WebServer::WebServer(std::unique_ptr<Server> server, std::string metrics_url)
    : server_(std::move(server)), metrics_url_(std::move(metrics_url)) {}

WebServer::~WebServer() {
  server_->http.stop();
  if (server_->thread.joinable()) server_->thread.join();
}

Result<std::unique_ptr<WebServer>> WebServer::serve(const std::string& address,
                                                    const NodeView& view) {
  const std::size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  int port = 0;
  std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
  auto server = std::make_unique<Server>(view);
  // Not shared with another process: two nodes on one port would answer in turns.
  server->http.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  if (port == 0) {
    port = server->http.bind_to_any_port(host);
  } else if (!server->http.bind_to_port(host, port)) {
    port = -1;
  }
  if (port < 0) {
    return Error{"metrics.address: cannot serve on " + address + " (is another program there?)"};
  }
  server->thread = std::thread([http = &server->http] {
    pthread_setname_np(pthread_self(), "web");
    http->listen_after_bind();
  });
  // stop() would pass a server by that has not begun.
  while (!server->http.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const std::string url = "http://" + host + ":" + std::to_string(port) + "/metrics";
  return std::unique_ptr<WebServer>(new WebServer(std::move(server), url));
}

}  // namespace driftlock
