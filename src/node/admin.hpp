// Admin: answers people's questions on a UNIX socket, one JSON object a line either way: status,
// holders, clock; and, where the clock is simulated, faults to rehearse. A thread of its own; what
// it wants to know of the lock table it asks of the lcore. A slow or silent peer holds up nobody.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "src/base/result.hpp"
#include "src/node/node_view.hpp"

namespace driftlock {

class Admin {
 public:
  // Makes the socket (mode 0660), in whose place nothing but a dead socket may be.
  [[nodiscard]] static Result<std::unique_ptr<Admin>> open(const Options::Admin& options,
                                                           const NodeView& view,
                                                           const std::string& metrics_url);
  ~Admin();
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  void start();
  // Ends the thread and removes the socket.
  void stop();

 private:
  struct Peer {
    int descriptor = -1;
    std::string unread;  // the beginning of a question
    std::string unsent;  // the rest of an answer
    std::chrono::steady_clock::time_point active;
  };

  Admin(std::string path, int listener, int wake, const NodeView& view, std::string metrics_url);
  void run();
  void accept_peers();
  // False: the peer is to be let go.
  [[nodiscard]] bool read_from(Peer& peer);
  [[nodiscard]] bool write_to(Peer& peer);
  void let_go(Peer& peer);

  const std::string path_;
  const int listener_;
  const int wake_;  // eventfd: stop
  const NodeView view_;
  const std::string metrics_url_;
  std::vector<Peer> peers_;  // admin thread
  std::thread thread_;
};

// The answer to one line, with the newline. Asks the lcore where it must.
// admin_answers.cpp
[[nodiscard]] std::string answer_admin(const std::string& line, const NodeView& view,
                                       const std::string& metrics_url);

}  // namespace driftlock
