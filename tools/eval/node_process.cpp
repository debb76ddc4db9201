#include "tools/eval/node_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "hw/key_file.hpp"

namespace driftlock::eval {
namespace {

Error failed(const std::string& what) {
  return Error{what + ": " + std::strerror(errno)};
}

// What the node says once it serves: "driftlockd ready: address=A metrics=... admin=...".
std::string read_address(int output) {
  std::string text;
  char letter = 0;
  while (read(output, &letter, 1) == 1 && letter != '\n') text += letter;
  const std::string mark = "address=";
  const auto begin = text.find(mark);
  if (begin == std::string::npos) return {};
  const auto from = begin + mark.size();
  return text.substr(from, text.find(' ', from) - from);
}

}  // namespace

SecretKey NodeProcess::client_key() {
  return SecretKey{{0x64726966, 0x746C6F63, 0x6B2D6576, 0x616C2E2E}};
}

Result<NodeProcess> NodeProcess::start(const std::string& program,
                                       const std::vector<std::string>& settings) {
  NodeProcess node;
  const Status prepared = node.prepare();
  if (!prepared.ok()) return prepared.error();
  const Status launched = node.launch(program, settings);
  if (!launched.ok()) return launched.error();
  return node;
}

Status NodeProcess::prepare() {
  std::string name = (std::filesystem::temp_directory_path() / "driftlock-eval-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) return failed(name);
  directory_ = name;
  const mode_t before = umask(0077);
  std::ofstream keys(directory_ + "/keys.toml");
  umask(before);
  keys << "[[client]]\nid = 1\nname = \"eval\"\nkey = \"" << format_key(client_key()) << "\"\n";
  keys.close();
  return keys ? done() : Status(Error{directory_ + "/keys.toml cannot be written"});
}

Status NodeProcess::launch(const std::string& program, const std::vector<std::string>& settings) {
  std::vector<std::string> words = {program};
  const auto set = [&words](const std::string& assignment) {
    words.emplace_back("--set");
    words.push_back(assignment);
  };
  set("auth.keys_file=" + directory_ + "/keys.toml");
  set("node.state_directory=" + directory_);
  set("admin.socket=" + directory_ + "/admin.sock");
  set("metrics.address=");
  set("port.udp_port=0");
  set("clock.trust_unsynchronized=true");
  for (const std::string& setting : settings) set(setting);
  std::array<int, 2> output{};
  if (pipe2(output.data(), O_CLOEXEC) != 0) return failed("pipe");
  pid_ = fork();
  if (pid_ < 0) return failed("fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    dup2(output[1], STDOUT_FILENO);
    execv(program.c_str(), arguments.data());
    _exit(127);
  }
  close(output[1]);
  address_ = read_address(output[0]);
  close(output[0]);
  if (!address_.empty()) return done();
  return Error{program + " does not start; its own message says why"};
}

NodeProcess::NodeProcess(NodeProcess&& other) noexcept
    : directory_(std::move(other.directory_)),
      address_(std::move(other.address_)),
      pid_(std::exchange(other.pid_, -1)) {
  other.directory_.clear();
}

NodeProcess::~NodeProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

std::string NodeProcess::ask(const std::string& question) const {
  const int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = directory_ + "/admin.sock";
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  std::string answer;
  const std::string line = question + "\n";
  if (connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
      write(peer, line.data(), line.size()) == static_cast<ssize_t>(line.size())) {
    char letter = 0;
    while (read(peer, &letter, 1) == 1 && letter != '\n') answer += letter;
  }
  close(peer);
  return answer;
}

}  // namespace driftlock::eval
