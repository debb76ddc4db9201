#include "hw/ptp4l_source.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>

namespace driftlock {
namespace {

Nanoseconds monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Nanoseconds{now.tv_sec} * kSecond + now.tv_nsec;
}

// One name per client in this process.
std::string client_path() {
  static std::atomic<unsigned> count{0};
  return "/var/run/driftlock-pmc." + std::to_string(getpid()) + "." + std::to_string(count++);
}

bool fill_address(sockaddr_un& address, const std::string& path) {
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return false;
  std::copy(path.begin(), path.end(), address.sun_path);
  return true;
}

Error failed(const std::string& what, const std::string& path) {
  return Error{what + " " + path + ": " + std::strerror(errno)};
}

}  // namespace

PmcClient::PmcClient(std::string server_path, std::uint8_t domain)
    : server_path_(std::move(server_path)), own_path_(client_path()), domain_(domain) {}

PmcClient::~PmcClient() {
  disconnect();
}

void PmcClient::disconnect() {
  if (socket_ < 0) return;
  close(socket_);
  unlink(own_path_.c_str());
  socket_ = -1;
}

// ptp4l answers to the sender's address, so the client's socket has a name as well.
Status PmcClient::connect() {
  if (socket_ >= 0) return done();
  sockaddr_un own{};
  sockaddr_un server{};
  if (!fill_address(own, own_path_) || !fill_address(server, server_path_)) {
    return Error{"ptp4l's socket path is empty or too long: " + server_path_};
  }
  socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_ < 0) return failed("cannot open a socket for", server_path_);
  unlink(own_path_.c_str());
  if (bind(socket_, reinterpret_cast<const sockaddr*>(&own), sizeof(own)) < 0) {
    const Error error = failed("cannot bind", own_path_);
    disconnect();
    return error;
  }
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&server), sizeof(server)) < 0) {
    const Error error = failed("ptp4l does not listen at", server_path_);
    disconnect();
    return error;
  }
  return done();
}

Status PmcClient::get(PmcId id, Ptp4lState& state, Nanoseconds deadline_ns) {
  const std::uint16_t sequence = ++sequence_;
  const auto request = pmc_get(id, sequence, domain_);
  if (send(socket_, request.data(), request.size(), 0) < 0) {
    return failed("ptp4l does not listen at", server_path_);
  }
  std::array<std::uint8_t, 1500> answer{};
  while (true) {
    const Nanoseconds left_ns = deadline_ns - monotonic_ns();
    if (left_ns <= 0) return Error{"ptp4l at " + server_path_ + " does not answer"};
    pollfd waiting{socket_, POLLIN, 0};
    poll(&waiting, 1, static_cast<int>(left_ns / kMillisecond) + 1);
    const ssize_t size = recv(socket_, answer.data(), answer.size(), 0);
    if (size > 0 &&
        apply_pmc_answer({answer.data(), static_cast<std::size_t>(size)}, sequence, state)) {
      return done();
    }
    if (size < 0 && errno != EAGAIN && errno != EINTR) {
      return failed("lost ptp4l at", server_path_);
    }
  }
}

// A restarted ptp4l has a new socket under the old name: after any failure connect again.
Result<Ptp4lState> PmcClient::ask(Nanoseconds timeout_ns) {
  const Nanoseconds deadline_ns = monotonic_ns() + timeout_ns;
  const Status connected = connect();
  if (!connected.ok()) return connected.error();
  Ptp4lState state;
  for (const PmcId id : {PmcId::kPortDataSet, PmcId::kCurrentDataSet, PmcId::kParentDataSet,
                         PmcId::kTimePropertiesDataSet, PmcId::kTimeStatusNp}) {
    const Status got = get(id, state, deadline_ns);
    if (!got.ok()) {
      disconnect();
      return got.error();
    }
  }
  return state;
}

Result<Nanoseconds> judge_ptp4l(const Ptp4lState& state, double worst_offset_ns,
                                const Ptp4lOptions& options) {
  constexpr std::uint8_t kLeastClass = 6;  // locked to a primary reference
  constexpr std::uint8_t kMostClass = 7;   // the same, in holdover
  const bool leads = (state.port_state == PtpPortState::kMaster ||
                      state.port_state == PtpPortState::kGrandMaster) &&
                     state.grandmaster_class >= kLeastClass &&
                     state.grandmaster_class <= kMostClass;
  const bool follows = state.grandmaster_present &&
                       (state.port_state == PtpPortState::kSlave ||
                        (options.free_running && state.port_state == PtpPortState::kUncalibrated));
  if (!leads && !follows) {
    return Error{"ptp4l follows no grandmaster (port state " +
                 std::string(to_string(state.port_state)) + ")"};
  }
  const Nanoseconds accuracy =
      accuracy_ns(state.grandmaster_accuracy).value_or(options.unknown_accuracy_ns);
  if (leads) return accuracy;
  if (state.path_delay_ns <= 0.0) return Error{"ptp4l has not measured the path's delay yet"};
  const double measured = std::fabs(worst_offset_ns) + state.path_delay_ns;
  return saturating_add(accuracy, static_cast<Nanoseconds>(std::ceil(measured)));
}

Ptp4lSource::Ptp4lSource(std::unique_ptr<ClockSource> clock, const Ptp4lOptions& options)
    : clock_(std::move(clock)), options_(options), client_(options.socket_path, options.domain) {}

Result<ClockSample> Ptp4lSource::sample() {
  const Result<Ptp4lState> told = client_.ask(options_.timeout_ns);
  if (!told.ok()) return told.error();
  const double moved_ns = told->offset_ns - (options_.free_running ? state_.offset_ns : 0.0);
  const bool first = state_.port_state == PtpPortState::kUnknown;
  state_ = told.value();
  if (!first || !options_.free_running) offsets_[next_++ % kOffsets] = std::fabs(moved_ns);
  const double worst = *std::max_element(offsets_.begin(), offsets_.end());
  const Result<Nanoseconds> error = judge_ptp4l(state_, worst, options_);
  if (!error.ok()) return error.error();
  Result<ClockSample> sample = clock_->sample();
  if (!sample.ok()) return sample;
  sample->max_error_ns = saturating_add(sample->max_error_ns, error.value());
  if (options_.free_running) sample->tai_ns -= std::llround(state_.offset_ns);
  sample->synchronized = true;
  return sample;
}

std::string Ptp4lSource::name() const {
  return "ptp4l:" + options_.socket_path + " " + clock_->name();
}

}  // namespace driftlock
