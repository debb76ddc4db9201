#include "src/node/admin.hpp"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "src/node/log.hpp"

namespace driftlock {
namespace {

constexpr std::size_t kPeersMax = 32;
constexpr std::size_t kQuestionBytesMax = 4096;
constexpr auto kSilenceMax = std::chrono::seconds(30);

Error failed(const std::string& what) {
  return Error{"admin.socket: " + what + ": " + std::strerror(errno)};
}

bool connects(const sockaddr_un& address) {
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool alive =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
      errno == EAGAIN;
  close(probe);
  return alive;
}

// What a killed daemon left behind goes; a living one's socket stays, as does any other file.
Status clear_place(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) return done();
  if (!S_ISSOCK(status.st_mode)) return Error{"admin.socket: " + path + " is not a socket"};
  if (connects(address)) return Error{"admin.socket: another driftlockd serves " + path};
  if (unlink(path.c_str()) != 0) return failed("cannot remove " + path);
  return done();
}

Status set_owner(const std::string& path, const std::string& group) {
  if (!group.empty()) {
    const struct group* entry = getgrnam(group.c_str());
    if (entry == nullptr) return Error{"admin.group: no group \"" + group + "\" on this machine"};
    if (chown(path.c_str(), static_cast<uid_t>(-1), entry->gr_gid) != 0) {
      return failed("cannot give " + path + " to group " + group);
    }
  }
  if (chmod(path.c_str(), 0660) != 0) return failed("cannot set the mode of " + path);
  return done();
}

Result<int> listen_on(const std::string& path, const std::string& group) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  const Status cleared = clear_place(path, address);
  if (!cleared.ok()) return cleared.error();
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return failed("no socket");
  // Nobody may connect before the mode is set.
  const mode_t before = umask(0177);
  const bool bound =
      bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const Error bind_error = failed("cannot make " + path);
  umask(before);
  if (!bound) {
    close(listener);
    return bind_error;
  }
  const Status owned = set_owner(path, group);
  if (!owned.ok() || listen(listener, 16) != 0) {
    const Error error = owned.ok() ? failed("cannot listen on " + path) : owned.error();
    close(listener);
    unlink(path.c_str());
    return error;
  }
  return listener;
}

}  // namespace

Result<std::unique_ptr<Admin>> Admin::open(const Options::Admin& options, const NodeView& view,
                                           const std::string& metrics_url) {
  Result<int> listener = listen_on(options.socket, options.group);
  if (!listener.ok()) return listener.error();
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return std::unique_ptr<Admin>(new Admin(options.socket, *listener, wake, view, metrics_url));
}

Admin::Admin(std::string path, int listener, int wake, const NodeView& view,
             std::string metrics_url)
    : path_(std::move(path)),
      listener_(listener),
      wake_(wake),
      view_(view),
      metrics_url_(std::move(metrics_url)) {}

Admin::~Admin() {
  stop();
  close(listener_);
  close(wake_);
  unlink(path_.c_str());
}

void Admin::start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "admin");
    run();
  });
}

void Admin::stop() {
  if (!thread_.joinable()) return;
  eventfd_write(wake_, 1);
  thread_.join();
}

void Admin::run() {
  std::vector<pollfd> waits;
  while (true) {
    waits.assign({{wake_, POLLIN, 0}, {listener_, POLLIN, 0}});
    for (const Peer& peer : peers_) {
      waits.push_back(
          {peer.descriptor, static_cast<short>(peer.unsent.empty() ? POLLIN : POLLOUT), 0});
    }
    poll(waits.data(), waits.size(), 1000);
    if (waits[0].revents != 0) break;
    const auto now = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      Peer& peer = peers_[i];
      bool stays = now - peer.active < kSilenceMax;
      if (waits[i + 2].revents != 0) {
        peer.active = now;
        stays = peer.unsent.empty() ? read_from(peer) : write_to(peer);
      }
      if (!stays) let_go(peer);
    }
    std::erase_if(peers_, [](const Peer& peer) { return peer.descriptor < 0; });
    if (waits[1].revents != 0) accept_peers();
  }
  for (Peer& peer : peers_) let_go(peer);
  peers_.clear();
}

void Admin::accept_peers() {
  while (true) {
    const int descriptor = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor < 0) return;
    if (peers_.size() == kPeersMax) {
      close(descriptor);
      continue;
    }
    peers_.push_back({descriptor, {}, {}, std::chrono::steady_clock::now()});
  }
}

bool Admin::read_from(Peer& peer) {
  std::array<char, kQuestionBytesMax> bytes;
  const ssize_t count = recv(peer.descriptor, bytes.data(), bytes.size(), 0);
  if (count <= 0) return count < 0 && (errno == EAGAIN || errno == EINTR);
  peer.unread.append(bytes.data(), static_cast<std::size_t>(count));
  std::size_t end = 0;
  while ((end = peer.unread.find('\n')) != std::string::npos) {
    peer.unsent += answer_admin(peer.unread.substr(0, end), view_, metrics_url_);
    peer.unread.erase(0, end + 1);
  }
  if (peer.unread.size() > kQuestionBytesMax) return false;
  return peer.unsent.empty() || write_to(peer);
}

bool Admin::write_to(Peer& peer) {
  const ssize_t count = send(peer.descriptor, peer.unsent.data(), peer.unsent.size(), MSG_NOSIGNAL);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  peer.unsent.erase(0, static_cast<std::size_t>(count));
  return true;
}

void Admin::let_go(Peer& peer) {
  close(peer.descriptor);
  peer.descriptor = -1;
}

}  // namespace driftlock
