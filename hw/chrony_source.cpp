#include "hw/chrony_source.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace driftlock {
namespace {

Nanoseconds monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Nanoseconds{now.tv_sec} * kSecond + now.tv_nsec;
}

}  // namespace

// Sequence numbers start anywhere, so that an answer to an earlier process is not taken for ours.
ChronySource::ChronySource(std::unique_ptr<ClockSource> clock, const ChronyOptions& options)
    : clock_(std::move(clock)),
      options_(options),
      sequence_(static_cast<std::uint32_t>(monotonic_ns())) {}

ChronySource::~ChronySource() {
  disconnect();
}

void ChronySource::disconnect() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

Status ChronySource::connect() {
  if (socket_ >= 0) return done();
  socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options_.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (socket_ < 0 ||
      ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    const Error error{name() + ": " + std::strerror(errno)};
    disconnect();
    return error;
  }
  return done();
}

Result<ChronyTracking> ChronySource::ask() {
  const Status connected = connect();
  if (!connected.ok()) return connected.error();
  const Nanoseconds deadline_ns = monotonic_ns() + options_.timeout_ns;
  const auto request = chrony_tracking_request(++sequence_);
  ssize_t size = send(socket_, request.data(), request.size(), 0);
  std::array<std::uint8_t, 512> reply{};
  while (size >= 0 || errno == EAGAIN || errno == EINTR) {
    const Nanoseconds left_ns = deadline_ns - monotonic_ns();
    if (left_ns <= 0) return Error{name() + " does not answer"};
    pollfd waiting{socket_, POLLIN, 0};
    poll(&waiting, 1, static_cast<int>(left_ns / kMillisecond) + 1);
    size = recv(socket_, reply.data(), reply.size(), 0);
    if (size < 0) continue;
    const auto told =
        parse_chrony_tracking({reply.data(), static_cast<std::size_t>(size)}, sequence_);
    if (told) return *told;
  }
  const Error error{name() + ": " + std::strerror(errno) + " (is chronyd running, its cmdport " +
                    std::to_string(options_.port) + "?)"};
  disconnect();
  return error;
}

Result<ClockSample> ChronySource::sample() {
  const Result<ChronyTracking> told = ask();
  if (!told.ok()) return told.error();
  tracking_ = told.value();
  const Result<Nanoseconds> error = judge_chrony(tracking_);
  if (!error.ok()) return error.error();
  Result<ClockSample> sample = clock_->sample();
  if (!sample.ok()) return sample;
  sample->max_error_ns = error.value();
  sample->estimated_error_ns = static_cast<Nanoseconds>(tracking_.rms_offset_s * 1e9);
  sample->synchronized = true;
  return sample;
}

std::string ChronySource::name() const {
  return "chrony:127.0.0.1:" + std::to_string(options_.port);
}

}  // namespace driftlock
