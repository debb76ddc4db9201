#include "hw/gossip_socket.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "hw/tick_counter.hpp"

namespace driftlock {
namespace {

// An older stamp has waited for a stopped process; one from the future was taken before a step.
constexpr Nanoseconds kStampAgeMax = 50 * kMillisecond;

sockaddr_in address_of(std::uint32_t ipv4, std::uint16_t udp_port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(ipv4);
  address.sin_port = htons(udp_port);
  return address;
}

Nanoseconds to_ns(const timespec& time) {
  return Nanoseconds{time.tv_sec} * kSecond + time.tv_nsec;
}

bool kernel_stamp(msghdr& message, timespec& stamp) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
    std::memcpy(&stamp, CMSG_DATA(part), sizeof(stamp));
    return true;
  }
  return false;
}

}  // namespace

Result<std::unique_ptr<GossipSocket>> GossipSocket::open(std::uint32_t ipv4,
                                                         std::uint16_t udp_port) {
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return Error{std::string("no socket: ") + std::strerror(errno)};
  std::unique_ptr<GossipSocket> opened(new GossipSocket(descriptor));
  sockaddr_in address = address_of(ipv4, udp_port);
  if (bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Error{std::string("cannot bind: ") + std::strerror(errno)};
  }
  const int on = 1;
  // Where the kernel does not stamp, the tick count at reading is used.
  static_cast<void>(setsockopt(descriptor, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)));
  socklen_t length = sizeof(address);
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length);
  opened->udp_port_ = ntohs(address.sin_port);
  opened->ns_per_tick_ = nominal_ns_per_tick();
  return opened;
}

GossipSocket::~GossipSocket() {
  close(descriptor_);
}

GossipSocket::Received GossipSocket::receive(std::span<std::uint8_t> buffer) {
  iovec data{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<char, 128> control;
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t bytes = recvmsg(descriptor_, &message, 0);
  if (bytes <= 0) return {};
  Received received;
  received.length = static_cast<std::size_t>(bytes);
  timespec now{};
  received.ticks = read_ticks();
  clock_gettime(CLOCK_REALTIME, &now);
  timespec stamp{};
  if (!kernel_stamp(message, stamp)) {
    received.stamp = StampSource::kTsc;
    return received;
  }
  const Nanoseconds age_ns = to_ns(now) - to_ns(stamp);
  if (age_ns < 0 || age_ns > kStampAgeMax) {
    received.stamp = StampSource::kTsc;
    return received;
  }
  received.ticks -= static_cast<std::uint64_t>(static_cast<double>(age_ns) / ns_per_tick_);
  received.stamp = StampSource::kSoftware;
  return received;
}

void GossipSocket::send(std::span<const std::uint8_t> datagram, std::uint32_t ipv4,
                        std::uint16_t udp_port) {
  const sockaddr_in address = address_of(ipv4, udp_port);
  static_cast<void>(sendto(descriptor_, datagram.data(), datagram.size(), MSG_NOSIGNAL,
                           reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
}

void GossipSocket::wait(int wake, Nanoseconds timeout_ns) const {
  std::array<pollfd, 2> waits{pollfd{descriptor_, POLLIN, 0}, pollfd{wake, POLLIN, 0}};
  const Nanoseconds bounded = std::max<Nanoseconds>(timeout_ns, 0);
  const timespec timeout{bounded / kSecond, bounded % kSecond};
  ppoll(waits.data(), waits.size(), &timeout, nullptr);
}

}  // namespace driftlock
