#include "hw/socket_port.hpp"

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>

#include "hw/tick_counter.hpp"
#include "src/base/assert.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {
namespace {

constexpr int kTransmitTries = 8;
// A stamp is believed where it lies at most a second before the burst, and not after it.
constexpr Nanoseconds kStampAgeMax = kSecond;

Error system_error(const std::string& what) {
  return Error{what + ": " + std::strerror(errno)};
}

std::int64_t to_ns(const timespec& time) {
  return std::int64_t{time.tv_sec} * kSecond + time.tv_nsec;
}

void ask_for_buffer(int socket, int option, int forced_option, int bytes) {
  // The forced one needs CAP_NET_ADMIN and passes the kernel's limit; a smaller buffer is no error.
  if (setsockopt(socket, SOL_SOCKET, forced_option, &bytes, sizeof(bytes)) != 0) {
    static_cast<void>(setsockopt(socket, SOL_SOCKET, option, &bytes, sizeof(bytes)));
  }
}

}  // namespace

struct SocketPort::Now {
  std::uint64_t ticks = 0;
  std::int64_t realtime_ns = 0;

  static Now read() {
    timespec realtime{};
    clock_gettime(CLOCK_REALTIME, &realtime);
    return {read_ticks(), to_ns(realtime)};
  }
};

SocketPort::SocketPort(const SocketPortOptions& options)
    : ns_per_tick_(nominal_ns_per_tick()),
      memory_(std::make_unique<std::uint8_t[]>(std::size_t{options.buffers} * kBufferBytes)) {
  static_assert(kBufferBytes >= wire::kDatagramBytesMax);
  free_.reserve(options.buffers);
  for (std::size_t i = options.buffers; i-- > 0;) free_.push_back(&memory_[i * kBufferBytes]);
  for (std::size_t i = 0; i < kBurst; ++i) {
    msghdr& message = messages_[i].msg_hdr;
    message.msg_name = &slots_[i].address;
    message.msg_iov = &slots_[i].data;
    message.msg_iovlen = 1;
  }
}

Result<std::unique_ptr<SocketPort>> SocketPort::open(const SocketPortOptions& options) {
  DRIFTLOCK_ASSERT(options.buffers >= kBurst);
  std::unique_ptr<SocketPort> port(new SocketPort(options));
  const driftlock::Status bound = port->bind_socket(options);
  if (!bound.ok()) return bound.error();
  return port;
}

Status SocketPort::bind_socket(const SocketPortOptions& options) {
  socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket_ < 0) return system_error("no UDP socket");
  ask_for_buffer(socket_, SO_RCVBUF, SO_RCVBUFFORCE, options.kernel_buffer_bytes);
  ask_for_buffer(socket_, SO_SNDBUF, SO_SNDBUFFORCE, options.kernel_buffer_bytes);
  const int enable = 1;
  static_cast<void>(setsockopt(socket_, SOL_SOCKET, SO_RXQ_OVFL, &enable, sizeof(enable)));
  const int stamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                     SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE;
  // Without them the stamp is the TSC at the burst, and every reply says so.
  static_cast<void>(setsockopt(socket_, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof(stamps)));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(options.ipv4);
  address.sin_port = htons(options.udp_port);
  if (bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    std::array<char, INET_ADDRSTRLEN> text{};
    inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
    return system_error("cannot listen on UDP " + std::string(text.data()) + ":" +
                        std::to_string(options.udp_port) +
                        " (is the address this machine's, and the port free?)");
  }
  socklen_t length = sizeof(address);
  if (getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return system_error("the UDP socket has no name");
  }
  ipv4_ = ntohl(address.sin_addr.s_addr);
  udp_port_ = ntohs(address.sin_port);
  return done();
}

SocketPort::~SocketPort() {
  if (socket_ >= 0) close(socket_);
}

// Lays out up to `wanted` free buffers for the kernel to fill; they leave the list when filled.
std::size_t SocketPort::prepare_receive(std::size_t wanted) {
  const std::size_t count = std::min({wanted, kBurst, free_.size()});
  for (std::size_t i = 0; i < count; ++i) {
    slots_[i].data = {free_[free_.size() - 1 - i], kBufferBytes};
    msghdr& message = messages_[i].msg_hdr;
    message.msg_namelen = sizeof(sockaddr_in);
    message.msg_control = slots_[i].control.data();
    message.msg_controllen = kControlBytes;
    message.msg_flags = 0;
  }
  return count;
}

std::size_t SocketPort::receive(std::span<Datagram> out) {
  const std::size_t prepared = prepare_receive(out.size());
  if (prepared == 0) return 0;
  const int filled =
      recvmmsg(socket_, messages_.data(), static_cast<unsigned>(prepared), MSG_DONTWAIT, nullptr);
  if (filled <= 0) return 0;
  const Now now = Now::read();
  const auto count = static_cast<std::size_t>(filled);
  for (std::size_t i = 0; i < count; ++i) {
    Datagram& datagram = out[i];
    datagram.payload = static_cast<std::uint8_t*>(slots_[i].data.iov_base);
    datagram.buffer = datagram.payload;
    datagram.length = static_cast<std::uint16_t>(messages_[i].msg_len);
    datagram.capacity = kBufferBytes;
    datagram.peer.ipv4 = ntohl(slots_[i].address.sin_addr.s_addr);
    datagram.peer.udp_port = ntohs(slots_[i].address.sin_port);
    datagram.peer.mac = {};
    read_control(messages_[i].msg_hdr, now, datagram);
  }
  free_.resize(free_.size() - count);
  counters_.received.add(count);
  return count;
}

void SocketPort::read_control(const msghdr& message, const Now& now, Datagram& datagram) {
  datagram.stamp = {now.ticks, StampSource::kTsc};
  auto* const header = const_cast<msghdr*>(&message);
  for (cmsghdr* part = CMSG_FIRSTHDR(header); part != nullptr; part = CMSG_NXTHDR(header, part)) {
    if (part->cmsg_level != SOL_SOCKET) continue;
    if (part->cmsg_type == SCM_TIMESTAMPING) {
      scm_timestamping stamps{};
      std::memcpy(&stamps, CMSG_DATA(part), sizeof(stamps));
      // [0] the kernel's, by CLOCK_REALTIME; [2] the NIC's, by its own clock.
      if (!stamp_from_device(stamps.ts[2], now, datagram.stamp) &&
          !stamp_from_kernel(stamps.ts[0], now, datagram.stamp)) {
        counters_.stamps_out_of_range.add();
      }
    } else if (part->cmsg_type == SO_RXQ_OVFL) {
      std::uint32_t dropped = 0;
      std::memcpy(&dropped, CMSG_DATA(part), sizeof(dropped));
      counters_.receive_drops.add(dropped - kernel_drops_seen_);
      kernel_drops_seen_ = dropped;
    }
  }
}

bool SocketPort::stamp_from_kernel(const timespec& stamp, const Now& now, ReceiveStamp& out) {
  const std::int64_t age_ns = now.realtime_ns - to_ns(stamp);
  if (age_ns < 0 || age_ns > kStampAgeMax) return false;
  out = {now.ticks - static_cast<std::uint64_t>(static_cast<double>(age_ns) / ns_per_tick_),
         StampSource::kSoftware};
  return true;
}

bool SocketPort::stamp_from_device(const timespec& stamp, const Now& now, ReceiveStamp& out) {
  if (stamp.tv_sec == 0 && stamp.tv_nsec == 0) return false;
  const DeviceClockMap map = device_clock_.map();
  if (!map.valid()) return false;
  const std::uint64_t ticks = map.to_ticks(static_cast<std::uint64_t>(to_ns(stamp)));
  const double age_ns =
      static_cast<double>(static_cast<std::int64_t>(now.ticks - ticks)) * ns_per_tick_;
  if (age_ns < 0.0 || age_ns > static_cast<double>(kStampAgeMax)) return false;
  out = {ticks, StampSource::kHardware};
  return true;
}

bool SocketPort::allocate(Datagram& datagram) {
  if (free_.empty()) {
    counters_.no_buffer.add();
    return false;
  }
  datagram = {};
  datagram.payload = free_.back();
  datagram.capacity = kBufferBytes;
  datagram.buffer = datagram.payload;
  free_.pop_back();
  return true;
}

void SocketPort::send(std::span<Datagram> datagrams) {
  while (!datagrams.empty()) {
    const std::size_t count = std::min(datagrams.size(), kBurst);
    transmit(datagrams.first(count));
    datagrams = datagrams.subspan(count);
  }
}

void SocketPort::set_traffic_class(Slot& slot, int traffic_class, msghdr& message) {
  message.msg_control = slot.control.data();
  message.msg_controllen = CMSG_SPACE(sizeof(traffic_class));
  cmsghdr* const part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = IPPROTO_IP;
  part->cmsg_type = IP_TOS;
  part->cmsg_len = CMSG_LEN(sizeof(traffic_class));
  std::memcpy(CMSG_DATA(part), &traffic_class, sizeof(traffic_class));
}

void SocketPort::transmit(std::span<Datagram> datagrams) {
  for (std::size_t i = 0; i < datagrams.size(); ++i) {
    const Datagram& datagram = datagrams[i];
    slots_[i].data = {datagram.payload, datagram.length};
    slots_[i].address.sin_family = AF_INET;
    slots_[i].address.sin_addr.s_addr = htonl(datagram.peer.ipv4);
    slots_[i].address.sin_port = htons(datagram.peer.udp_port);
    msghdr& message = messages_[i].msg_hdr;
    message.msg_namelen = sizeof(sockaddr_in);
    message.msg_control = nullptr;
    message.msg_controllen = 0;
    if (datagram.traffic_class != 0) set_traffic_class(slots_[i], datagram.traffic_class, message);
  }
  std::size_t next = 0;
  for (int tries = 0; next < datagrams.size();) {
    const int taken = sendmmsg(socket_, &messages_[next],
                               static_cast<unsigned>(datagrams.size() - next), MSG_DONTWAIT);
    if (taken > 0) {
      next += static_cast<std::size_t>(taken);
      counters_.sent.add(static_cast<std::uint64_t>(taken));
    } else if ((errno != EAGAIN && errno != ENOBUFS && errno != EINTR) ||
               ++tries == kTransmitTries) {
      // This peer cannot be reached, or the device is full: give up the first of the rest.
      counters_.send_drops.add();
      ++next;
      tries = 0;
    }
  }
  for (Datagram& datagram : datagrams) release(datagram);
}

void SocketPort::release(Datagram& datagram) {
  DRIFTLOCK_ASSERT(free_.size() < free_.capacity());  // else it is given back twice
  free_.push_back(static_cast<std::uint8_t*>(datagram.buffer));
  datagram.buffer = nullptr;
}

bool SocketPort::wait(Nanoseconds timeout_ns) {
  pollfd descriptor{socket_, POLLIN, 0};
  const Nanoseconds bounded = std::max<Nanoseconds>(timeout_ns, 0);
  const timespec timeout{bounded / kSecond, bounded % kSecond};
  return ppoll(&descriptor, 1, &timeout, nullptr) > 0;
}

static_assert(Port<SocketPort>);

}  // namespace driftlock
