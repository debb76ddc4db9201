// NodeProcess: a driftlockd of our own, on a free port of the loopback interface, with its state in
// a directory that goes with it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "src/base/result.hpp"
#include "src/lock/mac.hpp"

namespace driftlock::eval {

class NodeProcess {
 public:
  // `settings`: section.key=value. One client, number 1, with the key that client_key() tells.
  [[nodiscard]] static Result<NodeProcess> start(const std::string& program,
                                                 const std::vector<std::string>& settings);
  NodeProcess(NodeProcess&& other) noexcept;
  NodeProcess(const NodeProcess&) = delete;
  NodeProcess& operator=(const NodeProcess&) = delete;
  NodeProcess& operator=(NodeProcess&&) = delete;
  ~NodeProcess();

  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] static SecretKey client_key();
  // One question at its admin socket; the answer's line, empty where there is none.
  [[nodiscard]] std::string ask(const std::string& question) const;

 private:
  NodeProcess() = default;
  [[nodiscard]] Status prepare();
  [[nodiscard]] Status launch(const std::string& program, const std::vector<std::string>& settings);

  std::string directory_;
  std::string address_;
  pid_t pid_ = -1;
};

}  // namespace driftlock::eval
