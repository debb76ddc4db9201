// A GoogleTest fixture around an Engine without packets: clients that number their requests, and a
// clock that the test sets.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/lock/engine.hpp"

namespace driftlock::test {

using wire::Mode;
using wire::Op;
using wire::Reply;
using wire::Request;
using wire::Status;

inline constexpr Nanoseconds kStart = 1'700'000'000 * kSecond;
inline constexpr Nanoseconds kHalfWidth = kMillisecond;

inline EngineOptions small_options() {
  EngineOptions options;
  options.sessions = {.sessions_max = 8, .slots_per_session = 4};
  options.locks = {.locks_max = 16, .claims_max = 16, .long_keys_max = 4, .hash_seed = 7};
  options.epoch = 3;
  return options;
}

class EngineFixture : public ::testing::Test {
 protected:
  EngineFixture() { node_->advance(reading()); }

  // A session opened through the whole handshake, and the client's side of its slots.
  struct Client {
    std::uint32_t session = kNil;
    std::map<int, std::uint32_t> sequences;
  };

  ClockReading reading() const {
    if (clock_state_ == ClockState::kLost) return {};
    return {Interval::around(now_ns_, kHalfWidth), 0, clock_state_};
  }
  RequestContext context() const {
    RequestContext context;
    context.now = context.received = reading();
    context.client_time_ns = now_ns_;
    context.peer = {0x0A000001, 5000, {}};
    return context;
  }
  void pass(Nanoseconds ns) {
    // In steps, as a polling loop would see it.
    for (const Nanoseconds end = now_ns_ + ns; now_ns_ < end;) {
      now_ns_ = std::min(end, now_ns_ + 100 * kMillisecond);
      for (int i = 0; i < 4; ++i) node_->advance(reading());
    }
  }

  wire::OpenReply open_raw(wire::OpenRequest request) {
    return node_->open(1, *keyring_.find(1), request, context());
  }
  Client open(Nanoseconds term_ns = 5 * kSecond) {
    wire::OpenRequest request;
    request.client_nonce[0] = ++nonces_;
    request.slots = 4;
    request.term_ns = term_ns;
    request.cookie = open_raw(request).cookie;
    const wire::OpenReply reply = open_raw(request);
    EXPECT_EQ(reply.status, Status::kOk);
    Client client;
    client.session = node_->sessions().find(reply.session_id);
    return client;
  }

  Reply send(Client& client, const Request& request) {
    const std::uint64_t hash = node_->prefetch(client.session, request);
    Reply reply;
    node_->handle(client.session, request, hash, context(), reply);
    return reply;
  }
  Request numbered(Client& client, Op op, const std::string& key, int slot) {
    Request request;
    request.op = op;
    request.slot = static_cast<std::uint8_t>(slot);
    request.sequence = ++client.sequences[slot];
    request.key_length = static_cast<std::uint8_t>(key.size());
    std::copy(key.begin(), key.end(), request.key.begin());
    return request;
  }
  Request acquire_request(Client& client, const std::string& key, Nanoseconds wait_ns = 0,
                          Mode mode = Mode::kExclusive, int slot = 0) {
    Request request = numbered(client, Op::kAcquire, key, slot);
    request.mode = mode;
    request.argument = static_cast<std::uint64_t>(wait_ns);
    return request;
  }
  Reply acquire(Client& client, const std::string& key, Nanoseconds wait_ns = 0,
                Mode mode = Mode::kExclusive, int slot = 0) {
    return send(client, acquire_request(client, key, wait_ns, mode, slot));
  }
  Reply release(Client& client, const std::string& key, std::uint64_t token, int slot = 0) {
    Request request = numbered(client, Op::kRelease, key, slot);
    request.argument = token;
    return send(client, request);
  }
  Reply renew(Client& client, int slot = 0) {
    return send(client, numbered(client, Op::kRenew, "", slot));
  }
  Reply cancel(Client& client, int other_slot, std::uint32_t sequence, int slot) {
    Request request = numbered(client, Op::kCancel, "", slot);
    request.other_slot = static_cast<std::uint8_t>(other_slot);
    request.argument = sequence;
    return send(client, request);
  }
  Reply query(Client& client, const std::string& key) {
    Request request = numbered(client, Op::kQuery, key, wire::kNoSlot);
    return send(client, request);
  }
  // The node dies and comes back with these options: nothing of the old life is left.
  void restart(const EngineOptions& options) {
    node_ = std::make_unique<Engine>(options, keyring_, std::pmr::new_delete_resource());
    node_->advance(reading());
  }
  Reply convert(Client& client, const std::string& key, std::uint64_t token, Mode mode,
                Nanoseconds wait_ns = 0, int slot = 0) {
    Request request = numbered(client, Op::kConvert, key, slot);
    request.mode = mode;
    request.argument = token;
    request.predicted_release_ns = wait_ns;
    return send(client, request);
  }
  Reply reclaim(Client& client, const std::string& key, std::uint64_t token, std::uint64_t ticket,
                int slot = 0) {
    Request request = numbered(client, Op::kReclaim, key, slot);
    request.argument = token;
    request.predicted_release_ns = static_cast<std::int64_t>(ticket);
    return send(client, request);
  }
  struct GroupReply {
    Reply reply;
    std::vector<wire::Grant> grants;
  };
  Request group_request(Client& client, std::size_t keys, Nanoseconds wait_ns, int slot) {
    Request request = numbered(client, Op::kAcquireGroup, "", slot);
    request.permits = static_cast<std::uint16_t>(keys);
    request.argument = static_cast<std::uint64_t>(wait_ns);
    return request;
  }
  GroupReply send_group(Client& client, const Request& request,
                        const std::vector<std::string>& keys, Mode mode = Mode::kExclusive) {
    std::string names;
    for (const std::string& key : keys) {
      names +=
          std::string("\0\0", 2) + static_cast<char>(mode) + static_cast<char>(key.size()) + key;
    }
    std::vector<wire::More> more(
        std::max((names.size() + 94) / 95, wire::more_records(keys.size())));
    for (std::size_t i = 0; i < names.size(); ++i) {
      more[i / 95].body[i % 95] = static_cast<std::uint8_t>(names[i]);
    }
    GroupReply result;
    node_->handle_group(client.session, request, more, context(), result.reply);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      result.grants.push_back(
          wire::load<wire::Grant>(more[i / wire::kGrantsPerRecord].body.data() +
                                  (i % wire::kGrantsPerRecord) * sizeof(wire::Grant)));
    }
    return result;
  }
  GroupReply acquire_group(Client& client, const std::vector<std::string>& keys,
                           Nanoseconds wait_ns = 0, int slot = 0) {
    return send_group(client, group_request(client, keys.size(), wait_ns, slot), keys);
  }
  // The one push that is waiting.
  Reply pushed() {
    Push push;
    EXPECT_TRUE(node_->next_push(push));
    return push.reply;
  }
  bool nothing_pushed() {
    Push push;
    return !node_->next_push(push);
  }

  Keyring keyring_{{{1, "demo", SecretKey{{1, 2, 3, 4}}}}};
  std::unique_ptr<Engine> node_ =
      std::make_unique<Engine>(small_options(), keyring_, std::pmr::new_delete_resource());
  Nanoseconds now_ns_ = kStart;
  ClockState clock_state_ = ClockState::kSync;
  std::uint8_t nonces_ = 0;
};

}  // namespace driftlock::test
