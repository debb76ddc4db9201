// Fuzz target: whole datagrams into FastPath and Engine. The input is a script of small commands
// (open a session, send signed operations, repeat a datagram, send raw bytes, let time pass, lose
// the clock, poll), so that mutations reach states behind the handshake and the MAC. After every
// poll the node's promises are checked: every buffer given back, no reply longer than its request,
// every answer signed for the session it names, and a lock table that adds up. One thread.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory_resource>
#include <vector>

#include "src/base/assert.hpp"
#include "tests/unit/fake_node.hpp"

using namespace driftlock;

namespace {

using wire::Op;
using wire::Status;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kClients = 2;
constexpr std::size_t kSlots = 3;
constexpr std::size_t kKeys = 6;
constexpr std::array<std::uint8_t, kKeys> kKeyLengths{1, 2, 28, 29, 64, 65};  // the last is refused
constexpr std::size_t kBytesMax = 2000;

SecretKey client_key(std::size_t client) {
  return {{client + 1, 2, 3, 4}};
}

class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  [[nodiscard]] bool done() const { return at_ >= size_; }
  std::uint8_t byte() { return done() ? 0 : data_[at_++]; }
  std::uint64_t power() { return std::uint64_t{1} << (byte() % 64); }
  Bytes bytes(std::size_t count) {
    Bytes out;
    while (out.size() < count && !done()) out.push_back(byte());
    return out;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
};

// What a client knows of its session.
struct Client {
  std::uint64_t session_id = 0;
  SecretKey key;
  std::array<std::uint32_t, kSlots + 1> confirmed{};  // by slot: last sequence number acted upon
  std::array<std::uint32_t, kSlots + 1> sent{};
  std::array<std::size_t, kSlots + 1> slot_key{};
  std::array<std::uint64_t, kKeys> tokens{};
};

class Node {
 public:
  void run(Script& script);

 private:
  static EngineOptions options() {
    EngineOptions options;
    options.sessions = {.sessions_max = 3, .slots_per_session = kSlots};
    options.locks = {.locks_max = 4, .claims_max = 6, .long_keys_max = 2, .hash_seed = 1};
    options.node_secret = {{5, 6, 7, 8}};
    options.term_max_ns = 60 * kSecond;
    return options;
  }

  void send_open(Script& script);
  void send_operations(Script& script);
  wire::Request compose(Script& script, Client& client);
  void send_raw(Script& script);
  void deliver(Bytes bytes);
  void pass_time(std::uint64_t span_ns);
  Bytes datagram(std::uint64_t session_id, std::size_t op_count);
  void poll();
  void check_sent(const Bytes& bytes);
  void learn_open(const wire::Header& header, const Bytes& bytes);
  void learn_replies(Client& client, const wire::Header& header, const Bytes& bytes);
  void check_table() const;
  Client* find(std::uint64_t session_id);

  test::QueuePort port_;
  test::SetClock clock_;
  Keyring keyring_{{{1, "one", client_key(0)}, {2, "two", client_key(1)}}};
  Engine engine_{options(), keyring_, std::pmr::new_delete_resource()};
  NoObserver observer_;
  FastPathCounters counters_;
  FastPath<test::QueuePort, test::SetClock, NoObserver> path_{port_, clock_, engine_, observer_,
                                                              counters_};
  std::vector<Client> clients_;
  std::map<std::uint8_t, wire::Bytes16> cookies_;       // by client nonce
  std::map<std::uint64_t, std::uint8_t> opens_;         // datagram's nonce -> client nonce
  std::map<std::uint64_t, std::size_t> request_bytes_;  // datagram's nonce -> its length
  std::map<std::uint64_t, SecretKey> keys_;             // every session that ever was
  std::vector<Bytes> history_;
  std::uint64_t nonce_ = 0;
  std::uint64_t time_left_ns_ = 300 * kSecond;
};

void Node::run(Script& script) {
  poll();
  for (int commands = 0; commands < 200 && !script.done(); ++commands) {
    switch (script.byte() % 8) {
      case 0:
        send_open(script);
        break;
      case 1:
      case 2:
        send_operations(script);
        break;
      case 3:
        if (!history_.empty()) deliver(history_[script.byte() % history_.size()]);
        break;
      case 4:
        send_raw(script);
        break;
      case 5:
        pass_time(script.power());
        break;
      case 6: {
        const std::uint8_t state = script.byte();
        clock_.state = static_cast<ClockState>(state % 4);
        clock_.half_width_ns = Nanoseconds{1} << (state / 4 % 34);
        break;
      }
      default:
        poll();
    }
  }
  poll();
  // Whatever happened, everything ends once its time has come.
  clock_.state = ClockState::kSync;
  clock_.half_width_ns = 1;
  for (int turn = 0; turn < 1000 && engine_.sessions().active() != 0; ++turn) {
    clock_.now_ticks += kSecond;
    poll();
  }
  for (int turn = 0; turn < 4; ++turn) poll();
  DRIFTLOCK_ASSERT(engine_.sessions().active() == 0);
  DRIFTLOCK_ASSERT(engine_.locks().locks_in_use() == 0 && engine_.locks().claims_in_use() == 0);
}

// At most some minutes in all: the timers follow a jump by about a second a turn.
void Node::pass_time(std::uint64_t span_ns) {
  span_ns = std::min(span_ns, time_left_ns_);
  time_left_ns_ -= span_ns;
  clock_.now_ticks += span_ns;
}

Bytes Node::datagram(std::uint64_t session_id, std::size_t op_count) {
  Bytes bytes(wire::datagram_bytes(op_count));
  wire::Header header;
  header.length = static_cast<std::uint16_t>(bytes.size());
  header.session_id = session_id;
  header.nonce = ++nonce_;
  header.op_count = static_cast<std::uint8_t>(op_count);
  wire::store(bytes.data(), header);
  request_bytes_[nonce_] = bytes.size();
  return bytes;
}

void Node::deliver(Bytes bytes) {
  if (history_.size() >= 16) history_.erase(history_.begin());
  history_.push_back(bytes);
  port_.arriving.push_back({Endpoint{0x0A000002, 4000, {}}, std::move(bytes)});
}

void Node::send_open(Script& script) {
  const std::size_t client = script.byte() % kClients;
  const std::uint8_t nonce = script.byte() % 8;
  wire::OpenRequest request;
  request.slots = script.byte();
  request.client_nonce.fill(nonce);
  request.term_ns = static_cast<std::int64_t>(script.power());
  if (const auto cookie = cookies_.find(nonce); cookie != cookies_.end()) {
    request.cookie = cookie->second;
  }
  Bytes bytes = datagram(client + 1, 1);
  opens_[nonce_] = nonce;
  wire::store(wire::record(bytes.data(), 0), request);
  sign_datagram(client_key(client), bytes);
  deliver(std::move(bytes));
}

wire::Request Node::compose(Script& script, Client& client) {
  wire::Request request;
  const std::uint8_t shape = script.byte();
  if (shape == 0xFF) {  // any 96 bytes
    const Bytes raw = script.bytes(sizeof(request));
    if (!raw.empty()) std::memcpy(static_cast<void*>(&request), raw.data(), raw.size());
    return request;
  }
  request.op = static_cast<Op>(shape % 10);
  const std::uint8_t where = script.byte();
  request.slot = where % (kSlots + 1);
  const std::size_t key = where / 4 % kKeys;
  request.mode = static_cast<wire::Mode>(script.byte() % 4);
  const std::uint8_t order = script.byte();
  std::uint32_t& sent = client.sent[request.slot];
  request.sequence = order < 230 ? sent + 1 : sent + order - 240U;
  if (order < 230) sent = request.sequence;
  request.key_length = kKeyLengths[key];
  request.key.fill(0);
  std::fill_n(request.key.begin(), std::min<std::size_t>(request.key_length, 64),
              static_cast<std::uint8_t>('a' + key));
  request.other_slot = order % (kSlots + 1);
  request.permits = script.byte() % 8;
  request.permits_max = request.permits + order % 4;
  if (request.op == Op::kRelease) {
    request.argument = order % 16 == 15 ? script.power() : client.tokens[key];
  } else if (request.op == Op::kCancel) {
    request.argument = client.confirmed[request.other_slot] + order % 3;
  } else {
    request.argument = order % 4 == 0 ? 0 : script.power();
  }
  request.predicted_release_ns =
      order % 2 == 0 ? 0 : static_cast<std::int64_t>(clock_.now_ticks + script.power());
  client.slot_key[request.slot] = key;
  return request;
}

void Node::send_operations(Script& script) {
  if (clients_.empty()) return;
  Client& client = clients_[script.byte() % clients_.size()];
  const std::size_t op_count = script.byte() % 4 + 1U;
  Bytes bytes = datagram(client.session_id, op_count);
  auto header = wire::load<wire::Header>(bytes.data());
  header.time_ns = static_cast<std::int64_t>(clock_.now_ticks);
  wire::store(bytes.data(), header);
  for (std::size_t i = 0; i < op_count; ++i) {
    wire::store(wire::record(bytes.data(), i), compose(script, client));
  }
  sign_datagram(client.key, bytes);
  deliver(std::move(bytes));
}

// Bytes as they come, or a known datagram with some of them changed and no new signature.
void Node::send_raw(Script& script) {
  const std::uint8_t shape = script.byte();
  if (shape % 2 == 0 || history_.empty()) {
    deliver(script.bytes(std::min<std::size_t>(script.byte() * 8U, kBytesMax)));
    return;
  }
  Bytes bytes = history_[shape / 2 % history_.size()];
  const std::uint8_t cut = script.byte();
  if (cut % 4 == 1) bytes.resize(bytes.size() - std::min<std::size_t>(cut, bytes.size()));
  if (cut % 4 == 2) bytes.resize(std::min<std::size_t>(bytes.size() + cut, kBytesMax));
  for (const std::uint8_t flip : script.bytes(cut % 8)) {
    if (!bytes.empty()) bytes[flip % bytes.size()] ^= static_cast<std::uint8_t>(flip | 1U);
  }
  deliver(std::move(bytes));
}

void Node::poll() {
  port_.now_ticks = clock_.now_ticks;
  do {
    path_.poll();
    DRIFTLOCK_ASSERT(port_.outstanding == 0);  // each buffer is given back once
    while (!port_.sent.empty()) {
      const Bytes bytes = std::move(port_.sent.front().bytes);
      port_.sent.pop_front();
      check_sent(bytes);
    }
    check_table();
  } while (!port_.arriving.empty());
  for (Client& client : clients_) client.sent = client.confirmed;
}

Client* Node::find(std::uint64_t session_id) {
  const auto at =
      std::find_if(clients_.begin(), clients_.end(),
                   [session_id](const Client& client) { return client.session_id == session_id; });
  return at != clients_.end() ? &*at : nullptr;
}

void Node::check_sent(const Bytes& bytes) {
  DRIFTLOCK_ASSERT(bytes.size() >= sizeof(wire::Header));
  const auto header = wire::load<wire::Header>(bytes.data());
  DRIFTLOCK_ASSERT(header.magic == wire::kMagic && header.version == wire::kVersion);
  DRIFTLOCK_ASSERT(header.length == bytes.size() && header.kind != wire::Kind::kRequest);
  if (header.kind == wire::Kind::kError) {
    DRIFTLOCK_ASSERT(bytes.size() == wire::kErrorBytes);
    return;
  }
  DRIFTLOCK_ASSERT(bytes.size() == wire::datagram_bytes(header.op_count));
  if (header.session_id <= kClients) {
    DRIFTLOCK_ASSERT(verify_datagram(client_key(header.session_id - 1), bytes));
    learn_open(header, bytes);
    return;
  }
  const auto key = keys_.find(header.session_id);
  // A grant may be pushed to a session whose open reply is still on its way: not in this harness.
  DRIFTLOCK_ASSERT(key != keys_.end());
  DRIFTLOCK_ASSERT(verify_datagram(key->second, bytes));
  if (header.kind == wire::Kind::kReply) {
    DRIFTLOCK_ASSERT(request_bytes_.at(header.nonce) == bytes.size());
  }
  if (Client* client = find(header.session_id)) learn_replies(*client, header, bytes);
}

void Node::learn_open(const wire::Header& header, const Bytes& bytes) {
  const auto reply = wire::load<wire::OpenReply>(wire::record(bytes.data(), 0));
  const std::uint8_t nonce = opens_.at(header.nonce);
  if (reply.status == Status::kCookie) cookies_[nonce] = reply.cookie;
  if (reply.status != Status::kOk || find(reply.session_id) != nullptr) return;
  DRIFTLOCK_ASSERT(reply.slots >= 1 && reply.slots <= kSlots && reply.term_ns > 0);
  wire::Bytes16 client_nonce;
  client_nonce.fill(nonce);
  Client client;
  client.session_id = reply.session_id;
  client.key = derive_session_key(client_key(header.session_id - 1), client_nonce, reply.node_nonce,
                                  reply.session_id);
  keys_[client.session_id] = client.key;
  if (clients_.size() >= 6) clients_.erase(clients_.begin());
  clients_.push_back(client);
}

void Node::learn_replies(Client& client, const wire::Header& header, const Bytes& bytes) {
  for (std::size_t i = 0; i < header.op_count; ++i) {
    const auto reply = wire::load<wire::Reply>(wire::record(bytes.data(), i));
    DRIFTLOCK_ASSERT(static_cast<std::size_t>(reply.status) < wire::kStatusCount);
    const bool acted = reply.status != Status::kStaleSequence &&
                       reply.status != Status::kMisordered &&
                       reply.status != Status::kFalseRepeat && reply.status != Status::kNoSession &&
                       reply.op != Op::kQuery && reply.op != Op::kTime && reply.op != Op::kOpen &&
                       reply.op != Op::kNone;
    if (!acted || reply.slot >= kSlots || static_cast<std::size_t>(reply.op) >= wire::kOpCount) {
      continue;
    }
    client.confirmed[reply.slot] = std::max(client.confirmed[reply.slot], reply.sequence);
    if (reply.op != Op::kAcquire || reply.status != Status::kOk) continue;
    DRIFTLOCK_ASSERT(reply.token != 0 && reply.lease_end_ns > 0);
    client.tokens[client.slot_key[reply.slot]] = reply.token;
  }
}

void Node::check_table() const {
  const LockTable& table = engine_.locks();
  std::uint32_t used = 0;
  for (std::uint32_t cursor = 0; cursor < table.locks_max();) {
    cursor = engine_.visit_locks(cursor, table.locks_max(), [&](std::uint32_t index) {
      ++used;
      const Lock& lock = table.lock(index);
      DRIFTLOCK_ASSERT(lock.permits_used <= lock.permits_max);
      std::uint32_t permits = 0;
      for (std::uint32_t claim = table.first_holder(index); claim != kNil;
           claim = table.next_holder(claim)) {
        DRIFTLOCK_ASSERT(table.claim(claim).holds() && table.lock_of(claim) == index);
        permits += table.claim(claim).permits;
      }
      DRIFTLOCK_ASSERT(permits == lock.permits_used);
    });
  }
  DRIFTLOCK_ASSERT(used == table.locks_in_use());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script(data, size);
  Node().run(script);
  return 0;
}
