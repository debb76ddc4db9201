// relay: a UDP relay that treats datagrams badly on purpose, both ways, by a seed: drops,
// duplicates and holds back (so that they are overtaken) the given share of them. Each client gets
// a socket of its own towards the node, so that the node tells them apart. Says "ready" when it
// relays, and its counts when it is told to end (SIGTERM, SIGINT).
//
//   relay LISTEN_IPV4 LISTEN_PORT NODE_IPV4 NODE_PORT SEED DROP DUPLICATE REORDER (per cent)
#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <unordered_map>
#include <vector>

namespace {

volatile std::sig_atomic_t stopping = 0;

constexpr std::size_t kBatch = 64;
constexpr std::size_t kBytesMax = 2048;
constexpr int kOvertakenBy = 4;  // datagrams that pass one that is held back
constexpr int kHeldMsMax = 2;    // it goes on after this long at the latest

struct Counts {
  std::uint64_t received = 0;
  std::uint64_t dropped = 0;
  std::uint64_t duplicated = 0;
  std::uint64_t reordered = 0;
  std::uint64_t failed = 0;  // the kernel would not send it
};

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

sockaddr_in address_of(const char* ipv4, const char* port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::strtoul(port, nullptr, 10)));
  if (inet_pton(AF_INET, ipv4, &address.sin_addr) != 1) {
    std::fprintf(stderr, "not an IPv4 address: %s\n", ipv4);
    std::exit(2);
  }
  return address;
}

int udp_socket() {
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) fail("socket");
  const int bytes = 4 << 20;
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
  return descriptor;
}

// Where a datagram goes: out of a socket, to an address where the socket is not connected.
struct Destination {
  int descriptor = -1;
  sockaddr_in address{};
  bool connected = false;
};

// One direction's ill fate.
class Impairment {
 public:
  Impairment(std::uint64_t seed, const std::array<double, 3>& percent) : random_(seed) {
    for (std::size_t i = 0; i < percent.size(); ++i) share_[i] = percent[i] / 100.0;
  }

  void pass(const Destination& to, const std::uint8_t* bytes, std::size_t length) {
    ++counts_.received;
    const double fate = uniform_(random_);
    if (fate < share_[0]) {
      ++counts_.dropped;
    } else if (fate < share_[0] + share_[1]) {
      ++counts_.duplicated;
      send(to, bytes, length);
      send(to, bytes, length);
    } else if (fate < share_[0] + share_[1] + share_[2]) {
      ++counts_.reordered;
      held_.push_back({to, {bytes, bytes + length}, kOvertakenBy, Clock::now()});
      return;  // it does not overtake itself
    } else {
      send(to, bytes, length);
    }
    for (Held& held : held_) --held.passes;
    while (!held_.empty() && held_.front().passes <= 0) send_held();
  }

  void send_overdue() {
    const auto due = Clock::now() - std::chrono::milliseconds(kHeldMsMax);
    while (!held_.empty() && held_.front().since <= due) send_held();
  }
  [[nodiscard]] bool holds_any() const { return !held_.empty(); }
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Held {
    Destination to;
    std::vector<std::uint8_t> bytes;
    int passes;
    Clock::time_point since;
  };

  void send_held() {
    send(held_.front().to, held_.front().bytes.data(), held_.front().bytes.size());
    held_.pop_front();
  }
  void send(const Destination& to, const std::uint8_t* bytes, std::size_t length) {
    const auto* address = reinterpret_cast<const sockaddr*>(&to.address);
    const ssize_t sent = to.connected
                             ? ::send(to.descriptor, bytes, length, 0)
                             : sendto(to.descriptor, bytes, length, 0, address, sizeof(to.address));
    if (sent < 0) ++counts_.failed;
  }

  std::mt19937_64 random_;
  std::uniform_real_distribution<double> uniform_{0.0, 1.0};
  std::array<double, 3> share_{};  // drop, duplicate, reorder
  std::deque<Held> held_;
  Counts counts_;
};

// A batch of datagrams as the kernel fills it in.
class Batch {
 public:
  Batch() {
    for (std::size_t i = 0; i < kBatch; ++i) {
      data_[i] = {bytes_[i].data(), kBytesMax};
      messages_[i].msg_hdr.msg_iov = &data_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
      messages_[i].msg_hdr.msg_name = &addresses_[i];
    }
  }
  std::size_t receive(int descriptor) {
    for (mmsghdr& message : messages_) message.msg_hdr.msg_namelen = sizeof(sockaddr_in);
    const int count = recvmmsg(descriptor, messages_.data(), kBatch, MSG_DONTWAIT, nullptr);
    return count < 0 ? 0 : static_cast<std::size_t>(count);
  }
  [[nodiscard]] const sockaddr_in& sender(std::size_t i) const { return addresses_[i]; }
  [[nodiscard]] const std::uint8_t* bytes(std::size_t i) const { return bytes_[i].data(); }
  [[nodiscard]] std::size_t length(std::size_t i) const { return messages_[i].msg_len; }

 private:
  std::array<std::array<std::uint8_t, kBytesMax>, kBatch> bytes_{};
  std::array<iovec, kBatch> data_{};
  std::array<sockaddr_in, kBatch> addresses_{};
  std::array<mmsghdr, kBatch> messages_{};
};

class Relay {
 public:
  Relay(const sockaddr_in& listen, const sockaddr_in& node, std::uint64_t seed,
        const std::array<double, 3>& percent)
      : node_(node), to_node_(seed, percent), to_client_(seed + 1, percent) {
    front_ = udp_socket();
    if (bind(front_, reinterpret_cast<const sockaddr*>(&listen), sizeof(listen)) != 0) fail("bind");
    poll_ = epoll_create1(EPOLL_CLOEXEC);
    watch(front_);
  }

  void turn() {
    std::array<epoll_event, 64> events;
    const bool holding = to_node_.holds_any() || to_client_.holds_any();
    const int ready = epoll_wait(poll_, events.data(), events.size(), holding ? 1 : 100);
    for (int i = 0; i < ready; ++i) {
      const int descriptor = events[static_cast<std::size_t>(i)].data.fd;
      descriptor == front_ ? from_clients() : from_node(descriptor);
    }
    to_node_.send_overdue();
    to_client_.send_overdue();
  }

  void report() const {
    for (const auto& [name, counts] :
         {std::pair{"to_node", to_node_.counts()}, {"to_client", to_client_.counts()}}) {
      std::printf("%s received %lu dropped %lu duplicated %lu reordered %lu failed %lu\n", name,
                  counts.received, counts.dropped, counts.duplicated, counts.reordered,
                  counts.failed);
    }
  }

 private:
  void watch(int descriptor) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = descriptor;
    if (epoll_ctl(poll_, EPOLL_CTL_ADD, descriptor, &event) != 0) fail("epoll_ctl");
  }

  void from_clients() {
    const std::size_t count = batch_.receive(front_);
    for (std::size_t i = 0; i < count; ++i) {
      to_node_.pass({upstream_for(batch_.sender(i)), {}, true}, batch_.bytes(i), batch_.length(i));
    }
  }

  void from_node(int upstream) {
    const std::size_t count = batch_.receive(upstream);
    for (std::size_t i = 0; i < count; ++i) {
      to_client_.pass({front_, clients_.at(upstream), false}, batch_.bytes(i), batch_.length(i));
    }
  }

  int upstream_for(const sockaddr_in& client) {
    const std::uint64_t name = std::uint64_t{client.sin_addr.s_addr} << 16 | client.sin_port;
    const auto known = upstreams_.find(name);
    if (known != upstreams_.end()) return known->second;
    const int upstream = udp_socket();
    if (connect(upstream, reinterpret_cast<const sockaddr*>(&node_), sizeof(node_)) != 0) {
      fail("connect");
    }
    watch(upstream);
    upstreams_.emplace(name, upstream);
    clients_.emplace(upstream, client);
    return upstream;
  }

  sockaddr_in node_;
  int front_ = -1;
  int poll_ = -1;
  Impairment to_node_;
  Impairment to_client_;
  Batch batch_;
  std::unordered_map<std::uint64_t, int> upstreams_;  // by the client's address
  std::unordered_map<int, sockaddr_in> clients_;      // by the socket towards the node
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 9) {
    std::fprintf(stderr,
                 "usage: relay LISTEN_IPV4 LISTEN_PORT NODE_IPV4 NODE_PORT SEED DROP DUPLICATE "
                 "REORDER (per cent)\n");
    return 2;
  }
  std::signal(SIGTERM, [](int) { stopping = 1; });
  std::signal(SIGINT, [](int) { stopping = 1; });
  Relay relay(address_of(argv[1], argv[2]), address_of(argv[3], argv[4]),
              std::strtoull(argv[5], nullptr, 10),
              {std::strtod(argv[6], nullptr), std::strtod(argv[7], nullptr),
               std::strtod(argv[8], nullptr)});
  std::puts("ready");
  std::fflush(stdout);
  while (stopping == 0) relay.turn();
  relay.report();
  return 0;
}
