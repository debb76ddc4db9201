// SessionCore's opening, answered by hand: what a node, or the network, can do between the first
// open and the session.
#include <gtest/gtest.h>

#include <vector>

#include "src/client/session_core.hpp"

namespace driftlock {
namespace {

using client::SessionCore;
using client::SessionOptions;

constexpr SecretKey kClientKey{{1, 2, 3, 4}};

// It would have taken up a session under a key derived from the wrong nonce, which the node
// answers with silence. Found by fuzz_client.
TEST(ClientOpening, ALateAnswerToAnEarlierAttemptOpensNothing) {
  SessionOptions options;
  options.client_id = 1;
  options.client_key = kClientKey;
  SessionCore core(options, SecretKey{{1, 2, 3, 4}});
  client::LocalTime now;
  const auto next_open = [&] {
    std::vector<std::uint8_t> bytes(wire::kDatagramBytesMax);
    bytes.resize(core.next_datagram(now, bytes));
    return bytes;
  };
  const auto answer = [&](std::vector<std::uint8_t> bytes, wire::Status status) {
    auto header = wire::load<wire::Header>(bytes.data());
    header.kind = wire::Kind::kReply;
    header.error_ns = 1000;
    wire::store(bytes.data(), header);
    wire::OpenReply reply;
    reply.status = status;
    reply.slots = 4;
    reply.session_id = 1;
    reply.term_ns = kSecond;
    wire::store(wire::record(bytes.data(), 0), reply);
    sign_datagram(kClientKey, bytes);
    core.receive(bytes, now);
  };
  core.open(now);
  const std::vector<std::uint8_t> first = next_open();
  now.local_ns += kSecond;  // its answer is late, so it is repeated
  answer(next_open(), wire::Status::kFull);
  now.local_ns += kSecond;
  const std::vector<std::uint8_t> second = next_open();
  answer(first, wire::Status::kOk);
  EXPECT_FALSE(core.is_open());
  answer(second, wire::Status::kOk);
  EXPECT_TRUE(core.is_open());
}

}  // namespace
}  // namespace driftlock
