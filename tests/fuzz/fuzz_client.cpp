// Fuzz target: what a node, or anybody who can send to a client, says to the client's SessionCore.
// The input is a script: operations are submitted, datagrams are answered by a node that signs
// whatever the script makes it say, pushes and raw bytes arrive, time passes. Checked: what the
// client sends is well formed and signed, every operation completes at most once, and a lease that
// was seen lost stays lost.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "src/base/assert.hpp"
#include "src/client/session_core.hpp"

using namespace driftlock;

namespace {

using client::Completion;
using client::OperationId;
using wire::Op;
using wire::Status;
using Bytes = std::vector<std::uint8_t>;

constexpr SecretKey kClientKey{{1, 2, 3, 4}};

class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  [[nodiscard]] bool done() const { return at_ >= size_; }
  std::uint8_t byte() { return done() ? 0 : data_[at_++]; }
  std::uint64_t power() { return std::uint64_t{1} << (byte() % 64); }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
};

class World {
 public:
  void run(Script& script);

 private:
  // A session that some open was answered with. The client may take it up or refuse it, also while
  // an older one is still in use: the script does not know which, so what it sends tells.
  struct Granted {
    std::uint64_t session_id;
    SecretKey key;
  };

  static client::SessionOptions options() {
    client::SessionOptions options;
    options.client_id = 1;
    options.client_key = kClientKey;
    return options;
  }

  void submit(Script& script);
  void take_datagrams();
  void check_request(const Bytes& bytes) const;
  [[nodiscard]] const SecretKey* key_of(const Bytes& request) const;
  void answer(Script& script);
  wire::OpenReply open_reply(Script& script, const Bytes& request);
  wire::Reply reply(Script& script, const wire::Request& request) const;
  void push(Script& script);
  void send_raw(Script& script);
  void deliver(Bytes bytes, const SecretKey& key);
  void check_promises();
  void pass_time(Script& script);

  client::LocalTime now_;
  client::SessionCore core_{options(), SecretKey{{9, 9, 9, 9}}};
  std::vector<Bytes> sent_;
  std::vector<Granted> granted_;  // newest last
  Bytes last_delivered_;
  std::vector<OperationId> submitted_;
  std::set<OperationId> completed_;
  std::vector<std::shared_ptr<client::LeaseView>> lost_;
};

void World::run(Script& script) {
  now_.local_ns = kSecond;
  now_.tai_ns = 1'700'000'000 * kSecond;
  core_.open(now_);
  for (int commands = 0; commands < 300 && !script.done(); ++commands) {
    switch (script.byte() % 9) {
      case 0:
      case 1:
        take_datagrams();
        answer(script);
        break;
      case 2:
        push(script);
        break;
      case 3:
        send_raw(script);
        break;
      case 4:
        submit(script);
        break;
      case 5:
        if (!submitted_.empty()) core_.cancel(submitted_[script.byte() % submitted_.size()], now_);
        break;
      case 6:
        pass_time(script);
        break;
      case 7:
        if (script.byte() % 8 == 0) core_.close(now_);
        break;
      default:
        if (core_.is_closed()) core_.open(now_);
    }
    check_promises();
  }
}

void World::pass_time(Script& script) {
  now_.local_ns += static_cast<Nanoseconds>(script.power() % (std::uint64_t{1} << 40));
  now_.tai_ns += static_cast<Nanoseconds>(script.power() % (std::uint64_t{1} << 40));
  const std::uint8_t state = script.byte();
  now_.state = static_cast<ClockState>(state % 4);
  now_.tai = now_.state == ClockState::kLost
                 ? Interval{}
                 : Interval::around(now_.tai_ns, Nanoseconds{1} << (state / 4 % 32));
  core_.observe(now_);
}

void World::submit(Script& script) {
  if (submitted_.size() >= 64) return;
  constexpr std::array kOps{Op::kAcquire, Op::kAcquire, Op::kRelease,
                            Op::kQuery,   Op::kTime,    Op::kRenew};
  client::Operation operation;
  operation.op = kOps[script.byte() % kOps.size()];
  const std::uint8_t shape = script.byte();
  operation.name = client::LockName(1, std::string(1 + shape % 64U, 'k'));
  operation.mode = static_cast<wire::Mode>(shape / 64 % 3);
  operation.permits = operation.permits_max = 1;
  operation.wait_ns = shape % 2 == 0 ? 0 : static_cast<Nanoseconds>(script.power() >> 1);
  operation.token = shape % 8;
  submitted_.push_back(core_.submit(operation, now_));
}

void World::take_datagrams() {
  std::array<std::uint8_t, wire::kDatagramBytesMax> buffer{};
  for (int i = 0; i < 16; ++i) {
    const std::size_t size = core_.next_datagram(now_, buffer);
    if (size == 0) return;
    sent_.emplace_back(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size));
    check_request(sent_.back());
    if (sent_.size() > 8) sent_.erase(sent_.begin());
  }
}

void World::check_request(const Bytes& bytes) const {
  DRIFTLOCK_ASSERT(wire::check_request(bytes) == wire::Reject::kNone);
  DRIFTLOCK_ASSERT(key_of(bytes) != nullptr);
}

// The key that the client signed with; null where it had no right to any.
const SecretKey* World::key_of(const Bytes& request) const {
  if (static_cast<Op>(*wire::record(request.data(), 0)) == Op::kOpen) {
    return verify_datagram(kClientKey, request) ? &kClientKey : nullptr;
  }
  const auto header = wire::load<wire::Header>(request.data());
  for (const Granted& granted : granted_) {
    if (granted.session_id == header.session_id && verify_datagram(granted.key, request)) {
      return &granted.key;
    }
  }
  return nullptr;
}

// One of the last datagrams is answered, with what the script says.
void World::answer(Script& script) {
  if (sent_.empty()) return;
  Bytes bytes = sent_[script.byte() % sent_.size()];
  auto header = wire::load<wire::Header>(bytes.data());
  const std::uint8_t shape = script.byte();
  header.kind = wire::Kind::kReply;
  header.time_ns = now_.tai_ns + static_cast<Nanoseconds>(shape) - 128;
  header.error_ns = shape % 16 == 0 ? wire::kUnknownError : shape * 1000U;
  header.residence_ns = shape;
  header.clock_state = shape % 5;
  header.epoch = shape % 32 == 1 ? 2 : 1;
  const bool open = static_cast<Op>(*wire::record(bytes.data(), 0)) == Op::kOpen;
  const Bytes request = bytes;
  for (std::size_t i = 0; i < header.op_count; ++i) {
    if (open) {
      wire::store(wire::record(bytes.data(), i), open_reply(script, request));
    } else {
      wire::store(wire::record(bytes.data(), i),
                  reply(script, wire::load<wire::Request>(wire::record(request.data(), i))));
    }
  }
  wire::store(bytes.data(), header);
  deliver(std::move(bytes), *key_of(request));
}

wire::OpenReply World::open_reply(Script& script, const Bytes& bytes) {
  const auto request = wire::load<wire::OpenRequest>(wire::record(bytes.data(), 0));
  const std::uint8_t shape = script.byte();
  wire::OpenReply reply;
  reply.status = shape < 128 ? Status::kOk : static_cast<Status>(shape % 24);
  reply.slots = shape % 8 == 7 ? script.byte() : request.slots;
  reply.cookie.fill(shape);
  reply.node_nonce.fill(shape);
  reply.session_id = 1000 + shape % 4;
  reply.term_ns = static_cast<std::int64_t>(script.power());
  reply.lease_end_ns = now_.tai_ns + reply.term_ns % (std::int64_t{1} << 40);
  if (reply.status == Status::kOk) {
    granted_.push_back({reply.session_id, derive_session_key(kClientKey, request.client_nonce,
                                                             reply.node_nonce, reply.session_id)});
  }
  return reply;
}

wire::Reply World::reply(Script& script, const wire::Request& request) const {
  const std::uint8_t shape = script.byte();
  wire::Reply reply;
  reply.op = shape == 255 ? static_cast<Op>(script.byte()) : request.op;
  reply.status = shape < 160 ? Status::kOk : static_cast<Status>(shape % 24);
  reply.slot = shape % 64 == 63 ? script.byte() : request.slot;
  reply.sequence = shape % 64 == 62 ? script.byte() : request.sequence;
  reply.mode = request.mode;
  reply.token = shape % 8 + 1U;
  reply.term_ns = static_cast<std::int64_t>(script.power());
  reply.lease_end_ns = now_.tai_ns + reply.term_ns % (std::int64_t{1} << 40);
  reply.earliest_ns = now_.tai_ns - shape;
  reply.latest_ns = now_.tai_ns + shape;
  return reply;
}

void World::push(Script& script) {
  if (granted_.empty()) return;
  const Granted& session = granted_.back();
  Bytes bytes(wire::datagram_bytes(1));
  wire::Header header;
  header.kind = wire::Kind::kPush;
  header.length = static_cast<std::uint16_t>(bytes.size());
  header.session_id = session.session_id;
  header.time_ns = now_.tai_ns;
  header.error_ns = 1000;
  header.clock_state = 1;
  header.op_count = 1;
  header.epoch = 1;
  wire::store(bytes.data(), header);
  wire::Request request;
  request.op = Op::kAcquire;
  request.slot = script.byte() % 5;
  request.sequence = script.byte() % 16;
  wire::store(wire::record(bytes.data(), 0), reply(script, request));
  deliver(std::move(bytes), session.key);
}

// Bytes of the script, or the last datagram changed under its old signature; an error hint too.
void World::send_raw(Script& script) {
  const std::uint8_t shape = script.byte();
  Bytes bytes;
  if (shape % 2 == 0 || last_delivered_.empty()) {
    for (std::size_t i = script.byte() * 4U; i > 0 && !script.done(); --i) {
      bytes.push_back(script.byte());
    }
  } else {
    bytes = last_delivered_;
    if (shape % 4 == 1) bytes.resize(script.byte() * 4U);
    for (int i = shape / 64; i > 0 && !bytes.empty(); --i) {
      bytes[script.byte() * 7U % bytes.size()] ^= static_cast<std::uint8_t>(shape | 1U);
    }
  }
  core_.receive(bytes, now_);
}

void World::deliver(Bytes bytes, const SecretKey& key) {
  sign_datagram(key, bytes);
  last_delivered_ = bytes;
  core_.receive(bytes, now_);
}

void World::check_promises() {
  Completion completion;
  while (core_.next_completion(completion)) {
    DRIFTLOCK_ASSERT(completed_.insert(completion.id).second);
    DRIFTLOCK_ASSERT(std::find(submitted_.begin(), submitted_.end(), completion.id) !=
                     submitted_.end());
  }
  client::Event event;
  while (core_.next_event(event)) {
  }
  const auto& lease = core_.lease();
  if (lease && lease->state(now_.local_ns) == client::HolderState::kLost) lost_.push_back(lease);
  for (const auto& view : lost_) {
    DRIFTLOCK_ASSERT(view->state(now_.local_ns) == client::HolderState::kLost);
  }
  if (lost_.size() > 8) lost_.erase(lost_.begin());
  static_cast<void>(core_.wake_at());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script(data, size);
  World().run(script);
  return 0;
}
