#include "tools/eval/failures_client.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <memory>

#include "hw/udp_transport.hpp"
#include "src/predict/random.hpp"

namespace driftlock::eval {
namespace {

using client::EventKind;

class Worker {
 public:
  Worker(const ClientWork& work, Board& board, UdpTransport& transport)
      : work_(work),
        board_(board),
        cell_(board.clients[work.index]),
        transport_(transport),
        core_(work.session, random_seed()),
        random_(work.seed) {}

  void run() {
    core_.open(clock_.read());
    while (board_.stop.load() == 0) {
      if (cell_.busy.load() != 0) spin();
      step();
    }
    core_.close(clock_.read());
    for (int i = 0; i < 20 && !core_.is_closed(); ++i) step();
  }

 private:
  // A program that has gone wrong: it burns its processor and looks at nothing.
  void spin() const {
    setpriority(PRIO_PROCESS, 0, 19);
    while (board_.stop.load(std::memory_order_relaxed) == 0) {
    }
  }

  void step() {
    const client::LocalTime now = clock_.read();
    core_.observe(now);
    take_events();
    take_completions(now);
    act(now);
    std::array<std::uint8_t, wire::kDatagramBytesMax> buffer;
    while (const std::size_t bytes = core_.next_datagram(now, buffer)) {
      static_cast<void>(transport_.send({buffer.data(), bytes}));
    }
    publish();
    const Nanoseconds until = std::min({core_.wake_at(), act_at_ns_, now.local_ns + kSecond});
    const Nanoseconds left = std::clamp<Nanoseconds>(until - now.local_ns, 0, kSecond);
    const Result<std::size_t> received = transport_.receive(buffer, left);
    if (received.ok() && received.value() > 0) {
      core_.receive({buffer.data(), received.value()}, clock_.read());
    }
  }

  void act(const client::LocalTime& now) {
    if (!core_.is_open() || now.local_ns < act_at_ns_) return;
    act_at_ns_ = kNever;
    client::Operation operation;
    operation.name = client::LockName(work_.namespace_id, "lock-" + std::to_string(work_.lock));
    if (token_ == 0) {
      operation.op = wire::Op::kAcquire;
      operation.wait_ns = kNever / 4;
    } else {
      operation.op = wire::Op::kRelease;
      operation.token = token_;
      note(Happening::kReleased);
      hold(0);
    }
    pending_ = core_.submit(operation, now);
  }

  void take_completions(const client::LocalTime& now) {
    client::Completion completion;
    while (core_.next_completion(completion)) {
      if (completion.id != pending_) continue;
      pending_ = 0;
      const bool granted = completion.op == wire::Op::kAcquire &&
                           completion.verdict == client::Verdict::kAnswered &&
                           completion.reply.status == wire::Status::kOk;
      Nanoseconds pause = kMillisecond;
      if (granted) {
        hold(completion.reply.token);
        note(Happening::kGranted);
        pause = static_cast<Nanoseconds>(static_cast<double>(work_.hold_ns) *
                                         std::min(random_.exponential(), 4.0));
      }
      act_at_ns_ = now.local_ns + pause;
    }
  }

  void take_events() {
    client::Event event;
    while (core_.next_event(event)) {
      const bool session = event.kind == EventKind::kLost;
      const bool lock = event.kind == EventKind::kRevoked && event.token == token_;
      if (!session && !lock) continue;
      // A session lost with nothing held is a wrong end as well.
      note(Happening::kLost);
      hold(0);
      act_at_ns_ = pending_ == 0 ? 0 : act_at_ns_;
    }
  }

  void hold(std::uint64_t token) {
    token_ = token;
    cell_.holds.store(token);
  }

  void publish() {
    cell_.lease_end_ns.store(core_.lease_end_ns());
    cell_.open.store(core_.is_open() ? 1 : 0);
    cell_.renewals_asked.store(core_.counters().renewals_asked);
    cell_.sent.store(core_.counters().sent);
  }

  void note(Happening what) {
    const std::uint32_t at = board_.notes_used.fetch_add(1);
    if (at >= Board::kNotesMax) return;
    board_.notes[at] = {clock_.local_ns(), token_, work_.index, work_.lock, what};
  }

  const ClientWork& work_;
  Board& board_;
  Board::Client& cell_;
  UdpTransport& transport_;
  SystemClock clock_;
  client::SessionCore core_;
  Random random_;
  std::uint64_t token_ = 0;
  client::OperationId pending_ = 0;
  Nanoseconds act_at_ns_ = 0;
};

}  // namespace

int work_as_client(const ClientWork& work, Board& board) {
  auto transport = UdpTransport::open(work.server);
  if (!transport.ok()) return 1;
  Worker(work, board, *transport.value()).run();
  return 0;
}

}  // namespace driftlock::eval
