#include "hw/udp_transport.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace driftlock {
namespace {

// TAI minus UTC since 2017-01-01, where the kernel has not been told.
constexpr Nanoseconds kTaiOffsetNs = 37 * kSecond;
constexpr Nanoseconds kRefreshNs = kSecond;
// The kernel lets its own maximum error grow at this rate.
constexpr Nanoseconds kErrorGrowthPpm = 500;

Nanoseconds read_clock_ns(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return Nanoseconds{now.tv_sec} * kSecond + now.tv_nsec;
}

std::string failure(const char* what) {
  return std::string(what) + ": " + std::strerror(errno);
}

}  // namespace

Result<std::unique_ptr<UdpTransport>> UdpTransport::open(const std::string& server) {
  const std::size_t colon = server.rfind(':');
  const std::string host = server.substr(0, colon);
  const std::string port =
      colon == std::string::npos ? std::to_string(wire::kDefaultPort) : server.substr(colon + 1);
  addrinfo wanted{};
  wanted.ai_family = AF_INET;
  wanted.ai_socktype = SOCK_DGRAM;
  wanted.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int refused = getaddrinfo(host.c_str(), port.c_str(), &wanted, &found);
  if (refused != 0) {
    return Error{"server \"" + server +
                 "\" is not HOST:PORT of an IPv4 node: " + gai_strerror(refused)};
  }
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int connected =
      descriptor < 0 ? -1 : connect(descriptor, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  if (connected != 0) {
    const Error error{failure(("cannot reach " + server).c_str())};
    if (descriptor >= 0) close(descriptor);
    return error;
  }
  const int waker = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (waker < 0) {
    const Error error{failure("eventfd")};
    close(descriptor);
    return error;
  }
  return std::unique_ptr<UdpTransport>(new UdpTransport(descriptor, waker));
}

UdpTransport::~UdpTransport() {
  close(socket_);
  close(waker_);
}

Status UdpTransport::send(std::span<const std::uint8_t> datagram) {
  if (::send(socket_, datagram.data(), datagram.size(), MSG_NOSIGNAL) >= 0) return done();
  return Error{failure("send")};
}

Result<std::size_t> UdpTransport::receive(std::span<std::uint8_t> buffer, Nanoseconds timeout_ns) {
  const ssize_t at_once = recv(socket_, buffer.data(), buffer.size(), 0);
  if (at_once >= 0) return static_cast<std::size_t>(at_once);
  if (errno != EAGAIN && errno != EINTR) return Error{failure("receive")};
  std::array<pollfd, 2> waiting{pollfd{socket_, POLLIN, 0}, pollfd{waker_, POLLIN, 0}};
  const timespec timeout{timeout_ns / kSecond, timeout_ns % kSecond};
  if (ppoll(waiting.data(), waiting.size(), &timeout, nullptr) <= 0) return std::size_t{0};
  if (waiting[1].revents != 0) {
    std::uint64_t count = 0;
    static_cast<void>(!read(waker_, &count, sizeof(count)));
  }
  if (waiting[0].revents == 0) return std::size_t{0};
  const ssize_t bytes = recv(socket_, buffer.data(), buffer.size(), 0);
  if (bytes >= 0) return static_cast<std::size_t>(bytes);
  if (errno == EAGAIN || errno == EINTR) return std::size_t{0};
  return Error{failure("receive")};
}

void UdpTransport::wake() {
  const std::uint64_t one = 1;
  static_cast<void>(!write(waker_, &one, sizeof(one)));
}

Nanoseconds SystemClock::local_ns() const {
  return read_clock_ns(CLOCK_BOOTTIME);
}

void SystemClock::refresh(Nanoseconds local_ns) {
  if (refreshed_local_ns_ != kLongAgo && local_ns - refreshed_local_ns_ < kRefreshNs) return;
  timex state{};
  const int clock_state = adjtimex(&state);
  synchronized_ = clock_state >= 0 && clock_state != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
  max_error_ns_ = Nanoseconds{state.maxerror} * kMicrosecond;
  tai_offset_ns_ = state.tai != 0 ? Nanoseconds{state.tai} * kSecond : kTaiOffsetNs;
  refreshed_local_ns_ = local_ns;
}

client::LocalTime SystemClock::read() {
  const std::lock_guard held(mutex_);
  client::LocalTime now;
  now.local_ns = local_ns();
  refresh(now.local_ns);
  now.tai_ns = read_clock_ns(CLOCK_REALTIME) + tai_offset_ns_;
  if (synchronized_) {
    const Nanoseconds age = now.local_ns - refreshed_local_ns_;
    now.tai = Interval::around(now.tai_ns, max_error_ns_ + age * kErrorGrowthPpm / 1'000'000 + 1);
    now.state = ClockState::kSync;
  }
  return now;
}

SecretKey random_seed() {
  SecretKey seed;
  const ssize_t bytes = getrandom(seed.words.data(), sizeof(seed.words), 0);
  DRIFTLOCK_ASSERT(bytes == sizeof(seed.words));
  return seed;
}

Result<std::unique_ptr<Client>> connect_udp(const std::string& server, ClientOptions options) {
  Result<std::unique_ptr<UdpTransport>> transport = UdpTransport::open(server);
  if (!transport.ok()) return transport.error();
  options.seed = random_seed();
  options.node_name = server;
  return Client::connect(std::move(options), std::move(transport).value(),
                         std::make_unique<SystemClock>());
}

}  // namespace driftlock
