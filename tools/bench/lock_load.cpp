#include "tools/bench/lock_load.hpp"

#include <cstdio>
#include <cstring>

#include "src/base/assert.hpp"
#include "src/base/time.hpp"

namespace driftlock::bench {
namespace {

constexpr std::uint8_t kKeyLength = 16;

void name_key(std::size_t key, wire::Request& request) {
  // "bench/0000001234"; written by hand, since this runs once per request.
  std::memcpy(request.key.data(), "bench/0000000000", kKeyLength);
  for (std::size_t digit = kKeyLength; key != 0; key /= 10) {
    request.key[--digit] = static_cast<std::uint8_t>('0' + key % 10);
  }
  request.key_length = kKeyLength;
}

std::size_t sign(const SecretKey& key, wire::Header header, std::uint8_t* payload) {
  header.op_count = 1;
  header.length = wire::datagram_bytes(1);
  wire::store(payload, header);
  sign_datagram(key, {payload, header.length});
  return header.length;
}

}  // namespace

LockLoad::LockLoad(const LoadOptions& options)
    : options_(options),
      random_(options.seed),
      sessions_((options.lanes + kSlotsPerSession - 1) / kSlotsPerSession),
      lanes_(options.lanes),
      tokens_(options.keys),
      lanes_unfilled_(options.lanes) {
  DRIFTLOCK_ASSERT(options.keys >= options.lanes);
  for (SessionState& session : sessions_) {
    for (std::uint8_t& byte : session.nonce) byte = static_cast<std::uint8_t>(random_());
  }
  for (std::size_t i = 0; i < lanes_.size(); ++i) lanes_[i].key = i;
}

std::size_t LockLoad::write_open(std::size_t index, std::uint8_t* payload) {
  wire::OpenRequest request;
  request.slots = kSlotsPerSession;
  request.client_nonce = sessions_[index].nonce;
  request.cookie = sessions_[index].cookie;
  request.term_ns = 3600 * kSecond;
  wire::store(wire::record(payload, 0), request);
  wire::Header header;
  header.session_id = options_.client_id;
  return sign(options_.client_key, header, payload);
}

void LockLoad::take_open_reply(std::size_t index, const std::uint8_t* payload, std::size_t length) {
  if (length != wire::datagram_bytes(1)) return;
  const auto reply = wire::load<wire::OpenReply>(wire::record(payload, 0));
  if (reply.op != wire::Op::kOpen) return;  // left over from a load before
  SessionState& session = sessions_[index];
  if (reply.status == wire::Status::kCookie) {
    session.cookie = reply.cookie;
    return;
  }
  DRIFTLOCK_ASSERT(reply.status == wire::Status::kOk && reply.slots == kSlotsPerSession);
  session.id = reply.session_id;
  session.key =
      derive_session_key(options_.client_key, session.nonce, reply.node_nonce, reply.session_id);
}

std::size_t LockLoad::write_request(std::size_t index, std::uint8_t* payload) {
  Lane& lane = lanes_[index];
  const SessionState& session = sessions_[index / kSlotsPerSession];
  wire::Request request;
  request.op = lane.releasing ? wire::Op::kRelease : wire::Op::kAcquire;
  request.slot = static_cast<std::uint8_t>(index % kSlotsPerSession);
  request.sequence = lane.sequence;
  if (lane.releasing) request.argument = tokens_[lane.key];
  name_key(lane.key, request);
  wire::store(wire::record(payload, 0), request);
  wire::Header header;
  header.session_id = session.id;
  header.nonce = std::uint64_t{++lane.attempt} << 32 | index;
  return sign(session.key, header, payload);
}

std::size_t LockLoad::take(const std::uint8_t* payload, std::size_t length) {
  if (length != wire::datagram_bytes(1)) return lanes_.size();
  const auto header = wire::load<wire::Header>(payload);
  const auto index = static_cast<std::uint32_t>(header.nonce);
  if (index >= lanes_.size() || header.nonce >> 32 != lanes_[index].attempt) return lanes_.size();
  if (header.kind == wire::Kind::kReply) {
    take_reply(index, wire::load<wire::Reply>(wire::record(payload, 0)));
  }
  return index;
}

void LockLoad::take_reply(std::size_t index, const wire::Reply& reply) {
  Lane& lane = lanes_[index];
  if (reply.status != wire::Status::kOk || reply.sequence != lane.sequence) {
    std::fprintf(stderr, "lane %zu: %s %u was answered %s %u\n", index, wire::to_string(reply.op),
                 lane.sequence, wire::to_string(reply.status), std::uint32_t{reply.sequence});
    DRIFTLOCK_ASSERT(false && "the node serves the load");
  }
  if (!lane.releasing) tokens_[lane.key] = reply.token;
  ++replies_;
  ++lane.sequence;
  choose_next(index);
}

// A lane's keys are those that leave its number when divided by the count of lanes.
void LockLoad::choose_next(std::size_t index) {
  Lane& lane = lanes_[index];
  if (!lane.filled) {
    if (lane.key + lanes_.size() < options_.keys) {
      lane.key += lanes_.size();
      return;
    }
    lane.filled = true;
    --lanes_unfilled_;
  }
  if (lane.releasing) {
    lane.releasing = false;  // takes the same key again
    return;
  }
  lane.releasing = true;
  const std::size_t own = (options_.keys - index + lanes_.size() - 1) / lanes_.size();
  lane.key = index + lanes_.size() * (random_() % own);
}

}  // namespace driftlock::bench
