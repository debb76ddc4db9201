#include "fake_node.hpp"

#include <gtest/gtest.h>

namespace driftlock {
namespace {

using wire::Header;
using wire::Op;
using wire::Reply;
using wire::Request;
using wire::Status;

constexpr SecretKey kClientKey{{1, 2, 3, 4}};

class FastPathTest : public ::testing::Test {
 protected:
  FastPathTest() { poll(); }

  void poll() {
    port_.now_ticks = clock_.now_ticks;
    path_.poll();
    EXPECT_EQ(port_.outstanding, 0) << "a buffer was not given back";
  }
  std::vector<std::uint8_t> datagram(std::uint64_t session_id, const std::vector<Request>& requests,
                                     const SecretKey& key) {
    std::vector<std::uint8_t> bytes(wire::datagram_bytes(requests.size()));
    Header header;
    header.length = static_cast<std::uint16_t>(bytes.size());
    header.session_id = session_id;
    header.nonce = 0xABCD;
    header.op_count = static_cast<std::uint8_t>(requests.size());
    wire::store(bytes.data(), header);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      wire::store(wire::record(bytes.data(), i), requests[i]);
    }
    sign_datagram(key, bytes);
    return bytes;
  }
  void deliver(std::vector<std::uint8_t> bytes) {
    port_.arriving.push_back({peer_, std::move(bytes)});
  }
  std::vector<std::uint8_t> take() {
    if (port_.sent.empty()) return {};
    auto bytes = port_.sent.front().bytes;
    port_.sent.pop_front();
    return bytes;
  }
  wire::OpenReply exchange_open(const wire::OpenRequest& request) {
    Request raw;
    std::memcpy(static_cast<void*>(&raw), &request, sizeof(raw));
    deliver(datagram(1, {raw}, kClientKey));
    poll();
    const auto bytes = take();
    EXPECT_TRUE(verify_datagram(kClientKey, bytes));
    return wire::load<wire::OpenReply>(wire::record(bytes.data(), 0));
  }
  void open() {
    wire::OpenRequest request;
    request.cookie = exchange_open(request).cookie;
    const wire::OpenReply reply = exchange_open(request);
    ASSERT_EQ(reply.status, Status::kOk);
    session_id_ = reply.session_id;
    key_ = derive_session_key(kClientKey, request.client_nonce, reply.node_nonce, session_id_);
  }
  static Request acquire(std::uint32_t sequence) {
    Request request;
    request.op = Op::kAcquire;
    request.slot = 0;
    request.sequence = sequence;
    request.key_length = 1;
    request.key[0] = 'x';
    return request;
  }
  std::uint64_t rejected(wire::Reject reason) {
    return counters_.rejected[static_cast<std::size_t>(reason)].read();
  }

  static EngineOptions options() {
    EngineOptions options;
    options.sessions = {.sessions_max = 4, .slots_per_session = 2};
    options.locks = {.locks_max = 8, .claims_max = 8, .long_keys_max = 2, .hash_seed = 1};
    return options;
  }

  test::QueuePort port_;
  test::SetClock clock_;
  Keyring keyring_{{{1, "demo", kClientKey}}};
  Engine engine_{options(), keyring_, std::pmr::new_delete_resource()};
  NoObserver observer_;
  FastPathCounters counters_;
  FastPath<test::QueuePort, test::SetClock, NoObserver> path_{port_, clock_, engine_, observer_,
                                                              counters_};
  Endpoint peer_{0x0A000002, 4000, {}};
  std::uint64_t session_id_ = 0;
  SecretKey key_;
};

TEST_F(FastPathTest, AnswersInPlaceSignedWithTheNodesTime) {
  open();
  deliver(datagram(session_id_, {acquire(1)}, key_));
  poll();
  const auto bytes = take();
  ASSERT_EQ(bytes.size(), wire::datagram_bytes(1));
  EXPECT_TRUE(verify_datagram(key_, bytes));
  const auto header = wire::load<Header>(bytes.data());
  EXPECT_EQ(header.kind, wire::Kind::kReply);
  EXPECT_EQ(header.nonce, 0xABCDU);
  EXPECT_EQ(header.time_ns, static_cast<std::int64_t>(clock_.now_ticks));
  EXPECT_EQ(header.error_ns, 1000U);
  EXPECT_EQ(static_cast<StampSource>(header.stamp_source), StampSource::kSimulated);
  EXPECT_EQ(static_cast<ClockState>(header.clock_state), ClockState::kSync);
  EXPECT_EQ(wire::load<Reply>(wire::record(bytes.data(), 0)).status, Status::kOk);
}

TEST_F(FastPathTest, ServesEveryOperationOfADatagram) {
  open();
  Request time;
  time.op = Op::kTime;
  Request unknown;
  unknown.op = static_cast<Op>(77);
  deliver(datagram(session_id_, {acquire(1), time, unknown}, key_));
  poll();
  const auto bytes = take();
  EXPECT_EQ(wire::load<Reply>(wire::record(bytes.data(), 0)).status, Status::kOk);
  EXPECT_EQ(wire::load<Reply>(wire::record(bytes.data(), 1)).latest_ns,
            static_cast<std::int64_t>(clock_.now_ticks) + 1000);
  EXPECT_EQ(wire::load<Reply>(wire::record(bytes.data(), 2)).status, Status::kBadRequest);
}

TEST_F(FastPathTest, PushesTheGrantToTheWaiter) {
  open();
  const auto first_id = session_id_;
  const auto first_key = key_;
  deliver(datagram(first_id, {acquire(1)}, first_key));
  poll();
  const auto held = wire::load<Reply>(wire::record(take().data(), 0));
  peer_.udp_port = 4001;
  wire::OpenRequest request;
  request.client_nonce[0] = 1;
  request.cookie = exchange_open(request).cookie;
  const wire::OpenReply second = exchange_open(request);
  const SecretKey second_key =
      derive_session_key(kClientKey, request.client_nonce, second.node_nonce, second.session_id);
  Request wait = acquire(1);
  wait.argument = kSecond;
  deliver(datagram(second.session_id, {wait}, second_key));
  poll();
  EXPECT_EQ(wire::load<Reply>(wire::record(take().data(), 0)).status, Status::kQueued);
  Request release = acquire(2);
  release.op = Op::kRelease;
  release.argument = held.token;
  deliver(datagram(first_id, {release}, first_key));
  poll();
  take();
  ASSERT_EQ(port_.sent.size(), 1U);
  EXPECT_EQ(port_.sent.front().peer.udp_port, 4001);
  const auto push = take();
  EXPECT_TRUE(verify_datagram(second_key, push));
  EXPECT_EQ(wire::load<Header>(push.data()).kind, wire::Kind::kPush);
  EXPECT_EQ(wire::load<Reply>(wire::record(push.data(), 0)).status, Status::kOk);
}

TEST_F(FastPathTest, CountsAndDropsWhatItCannotTrust) {
  open();
  auto good = datagram(session_id_, {acquire(1)}, key_);
  auto bad = good;
  bad[bad.size() - 1] ^= 1;
  deliver(bad);
  bad = good;
  bad.pop_back();
  deliver(bad);
  bad = good;
  bad.push_back(0);
  deliver(bad);
  bad = good;
  bad[0] ^= 1;
  deliver(bad);
  deliver({});
  poll();
  EXPECT_TRUE(port_.sent.empty());
  EXPECT_EQ(rejected(wire::Reject::kBadMac), 1U);
  EXPECT_EQ(rejected(wire::Reject::kTruncated), 2U);
  EXPECT_EQ(rejected(wire::Reject::kOversized), 1U);
  EXPECT_EQ(rejected(wire::Reject::kBadMagic), 1U);
  EXPECT_EQ(engine_.locks().locks_in_use(), 0U);
}

TEST_F(FastPathTest, AnswersWrongVersionAndUnknownSessionWithAShortHint) {
  open();
  auto other_version = datagram(session_id_, {acquire(1)}, key_);
  other_version[4] = 9;
  deliver(other_version);
  deliver(datagram(session_id_ + 1, {acquire(1)}, key_));
  poll();
  for (const Status expected : {Status::kBadVersion, Status::kNoSession}) {
    const auto bytes = take();
    ASSERT_EQ(bytes.size(), wire::kErrorBytes);
    const auto header = wire::load<Header>(bytes.data());
    EXPECT_EQ(header.kind, wire::Kind::kError);
    EXPECT_EQ(static_cast<Status>(header.status), expected);
  }
}

// Found by fuzz_node: both were authenticated before either was served, and the record had changed
// hands in between.
TEST_F(FastPathTest, LateRequestNeverActsInTheSessionThatTookItsRecord) {
  open();
  Request close;
  close.op = Op::kClose;
  close.slot = 0;
  close.sequence = 1;
  deliver(datagram(session_id_, {close}, key_));
  poll();
  take();
  poll();  // the session has ended; its record lingers
  wire::OpenRequest request;
  for (std::uint8_t nonce = 1; nonce < 4; ++nonce) {  // the other records are taken
    request = wire::OpenRequest{};
    request.client_nonce[0] = nonce;
    request.cookie = exchange_open(request).cookie;
    ASSERT_EQ(exchange_open(request).status, Status::kOk);
  }
  request = wire::OpenRequest{};
  request.client_nonce[0] = 4;
  request.cookie = exchange_open(request).cookie;
  Request raw;
  std::memcpy(static_cast<void*>(&raw), &request, sizeof(raw));
  deliver(datagram(1, {raw}, kClientKey));
  deliver(datagram(session_id_, {acquire(1)}, key_));
  poll();
  const auto opened = wire::load<wire::OpenReply>(wire::record(take().data(), 0));
  ASSERT_EQ(opened.status, Status::kOk);
  EXPECT_EQ(wire::load<Header>(take().data()).kind, wire::Kind::kError);
  EXPECT_EQ(rejected(wire::Reject::kUnknownSession), 1U);
  EXPECT_EQ(engine_.locks().locks_in_use(), 0U);
}

TEST_F(FastPathTest, NeverAnswersAnErrorOrAReply) {
  open();
  auto error = datagram(session_id_, {acquire(1)}, key_);
  error[4] = 9;
  error[5] = static_cast<std::uint8_t>(wire::Kind::kError);
  deliver(error);
  poll();
  EXPECT_TRUE(port_.sent.empty());
}

}  // namespace
}  // namespace driftlock
