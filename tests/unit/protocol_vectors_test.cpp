// docs/protocol-vectors.json says what this code does. DRIFTLOCK_UPDATE_VECTORS=1 writes it anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "src/lock/mac.hpp"
#include "src/lock/wire.hpp"

namespace driftlock {
namespace {

using nlohmann::ordered_json;

std::string hex(const void* bytes, std::size_t size) {
  std::string digits;
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint8_t byte = static_cast<const std::uint8_t*>(bytes)[i];
    digits.push_back("0123456789abcdef"[byte >> 4]);
    digits.push_back("0123456789abcdef"[byte & 15]);
  }
  return digits;
}

// 64-bit numbers as text: not every reader of JSON keeps them whole.
std::string text(std::int64_t number) {
  return std::to_string(number);
}
std::string text(std::uint64_t number) {
  return std::to_string(number);
}

wire::Bytes16 bytes16(std::uint8_t first) {
  wire::Bytes16 bytes;
  for (std::uint8_t i = 0; i < 16; ++i) bytes[i] = static_cast<std::uint8_t>(first + i);
  return bytes;
}

SecretKey key_of(std::uint8_t first) {
  std::array<std::uint8_t, 32> bytes;
  for (std::uint8_t i = 0; i < 32; ++i) bytes[i] = static_cast<std::uint8_t>(first + i);
  SecretKey key;
  std::memcpy(key.words.data(), bytes.data(), bytes.size());
  return key;
}

constexpr std::uint64_t kClientId = 1;
constexpr std::uint64_t kSessionId = 0x0001000001000007;
constexpr Nanoseconds kNow = 1'795'492'800'123'456'789;
const SecretKey kClientKey = key_of(0x00);
const wire::Bytes16 kClientNonce = bytes16(0x40);
const wire::Bytes16 kNodeNonce = bytes16(0x80);

ordered_json fields(const wire::Header& header) {
  return {{"magic", std::uint32_t{header.magic}},
          {"version", header.version},
          {"kind", static_cast<int>(header.kind)},
          {"length", std::uint16_t{header.length}},
          {"session_id", text(std::uint64_t{header.session_id})},
          {"nonce", text(std::uint64_t{header.nonce})},
          {"time_ns", text(std::int64_t{header.time_ns})},
          {"residence_ns", std::uint32_t{header.residence_ns}},
          {"error_ns", std::uint32_t{header.error_ns}},
          {"clock_state", header.clock_state},
          {"stamp_source", header.stamp_source},
          {"op_count", header.op_count},
          {"status", header.status},
          {"epoch", std::uint32_t{header.epoch}}};
}

ordered_json fields(const wire::Request& record) {
  return {{"record", "request"},
          {"op", static_cast<int>(record.op)},
          {"flags", record.flags},
          {"slot", record.slot},
          {"mode", static_cast<int>(record.mode)},
          {"sequence", std::uint32_t{record.sequence}},
          {"namespace_id", std::uint16_t{record.namespace_id}},
          {"key_length", record.key_length},
          {"other_slot", record.other_slot},
          {"permits", std::uint16_t{record.permits}},
          {"permits_max", std::uint16_t{record.permits_max}},
          {"argument", text(std::uint64_t{record.argument})},
          {"predicted_release_ns", text(std::int64_t{record.predicted_release_ns})},
          {"key", hex(record.key.data(), record.key.size())}};
}

ordered_json fields(const wire::ProbeReport& record) {
  return {{"record", "probe_report"},
          {"op", static_cast<int>(record.op)},
          {"flags", record.flags},
          {"slot", record.slot},
          {"clock", record.clock},
          {"sequence", std::uint32_t{record.sequence}},
          {"session_id", text(std::uint64_t{record.session_id})},
          {"span_ns", text(std::uint64_t{record.span_ns})},
          {"requests", std::uint32_t{record.requests}},
          {"replies", std::uint32_t{record.replies}},
          {"repeats", std::uint32_t{record.repeats}},
          {"unmatched", std::uint32_t{record.unmatched}},
          {"errors", std::uint32_t{record.errors}},
          {"pushes", std::uint32_t{record.pushes}},
          {"p50_ns", text(std::uint64_t{record.p50_ns})},
          {"p99_ns", text(std::uint64_t{record.p99_ns})},
          {"sum_ns", text(std::uint64_t{record.sum_ns})}};
}

ordered_json fields(const wire::Reply& record) {
  return {{"record", "reply"},
          {"op", static_cast<int>(record.op)},
          {"status", static_cast<int>(record.status)},
          {"slot", record.slot},
          {"mode", static_cast<int>(record.mode)},
          {"sequence", std::uint32_t{record.sequence}},
          {"token", text(std::uint64_t{record.token})},
          {"lease_end_ns", text(std::int64_t{record.lease_end_ns})},
          {"term_ns", text(std::int64_t{record.term_ns})},
          {"holders", std::uint32_t{record.holders}},
          {"waiters", std::uint32_t{record.waiters}},
          {"earliest_ns", text(std::int64_t{record.earliest_ns})},
          {"latest_ns", text(std::int64_t{record.latest_ns})},
          {"sigma_ns", text(std::uint64_t{record.sigma_ns})},
          {"clock_residual_ns", text(std::int64_t{record.clock_residual_ns})},
          {"behaviour_residual_ns", text(std::int64_t{record.behaviour_residual_ns})},
          {"ticket", text(std::uint64_t{record.ticket})},
          {"wait_forecast_us", std::uint32_t{record.wait_forecast_us}}};
}

ordered_json fields(const wire::OpenRequest& record) {
  return {{"record", "open_request"},
          {"op", static_cast<int>(record.op)},
          {"flags", record.flags},
          {"slots", record.slots},
          {"lock_delay_ms", std::uint32_t{record.lock_delay_ms}},
          {"client_nonce", hex(record.client_nonce.data(), 16)},
          {"cookie", hex(record.cookie.data(), 16)},
          {"term_ns", text(std::int64_t{record.term_ns})}};
}

ordered_json fields(const wire::OpenReply& record) {
  return {{"record", "open_reply"},
          {"op", static_cast<int>(record.op)},
          {"status", static_cast<int>(record.status)},
          {"slots", record.slots},
          {"session_id", text(std::uint64_t{record.session_id})},
          {"node_nonce", hex(record.node_nonce.data(), 16)},
          {"cookie", hex(record.cookie.data(), 16)},
          {"term_ns", text(std::int64_t{record.term_ns})},
          {"lease_end_ns", text(std::int64_t{record.lease_end_ns})}};
}

ordered_json fields(const wire::More& record) {
  return {{"record", "more"},
          {"op", static_cast<int>(record.op)},
          {"body", hex(record.body.data(), record.body.size())}};
}

class Vectors {
 public:
  template <typename... Records>
  void add(const std::string& name, const std::string& key_name, const SecretKey& key,
           wire::Header header, const Records&... records) {
    std::vector<std::uint8_t> bytes(wire::datagram_bytes(sizeof...(Records)));
    header.length = static_cast<std::uint16_t>(bytes.size());
    header.op_count = static_cast<std::uint8_t>(sizeof...(Records));
    wire::store(bytes.data(), header);
    std::size_t index = 0;
    ordered_json list = ordered_json::array();
    (...,
     (wire::store(wire::record(bytes.data(), index++), records), list.push_back(fields(records))));
    sign_datagram(key, bytes);
    datagrams_.push_back(
        {{"name", name},
         {"key", key_name},
         {"bytes", hex(bytes.data(), bytes.size())},
         {"header", fields(header)},
         {"records", list},
         {"mac", hex(bytes.data() + bytes.size() - wire::kMacBytes, wire::kMacBytes)}});
  }

  void add_error(wire::Header header) {
    header.kind = wire::Kind::kError;
    header.length = wire::kErrorBytes;
    datagrams_.push_back({{"name", "error: no such session"},
                          {"key", nullptr},
                          {"bytes", hex(&header, sizeof(header))},
                          {"header", fields(header)},
                          {"records", ordered_json::array()}});
  }

  [[nodiscard]] ordered_json take() { return std::move(datagrams_); }

 private:
  ordered_json datagrams_ = ordered_json::array();
};

wire::Header request_header(std::uint64_t session_id, std::uint64_t nonce) {
  wire::Header header;
  header.session_id = session_id;
  header.nonce = nonce;
  header.time_ns = kNow;
  header.error_ns = 1500;
  header.clock_state = static_cast<std::uint8_t>(ClockState::kSync);
  header.epoch = 1;
  return header;
}

wire::Header answer_header(std::uint64_t session_id, std::uint64_t nonce, wire::Kind kind) {
  wire::Header header = request_header(session_id, nonce);
  header.kind = kind;
  header.time_ns = kNow + 50'000;
  header.error_ns = 250;
  header.residence_ns = 1234;
  header.stamp_source = static_cast<std::uint8_t>(StampSource::kHardware);
  return header;
}

wire::Request request(wire::Op op, std::uint8_t slot, std::uint32_t sequence,
                      const std::string& key) {
  wire::Request record;
  record.op = op;
  record.slot = slot;
  record.sequence = sequence;
  record.key_length = static_cast<std::uint8_t>(key.size());
  std::copy(key.begin(), key.end(), record.key.begin());
  if (!key.empty()) record.namespace_id = 3;
  return record;
}

wire::Reply reply(const wire::Request& asked, wire::Status status) {
  wire::Reply record;
  record.op = asked.op;
  record.slot = asked.slot;
  record.mode = asked.mode;
  record.sequence = asked.sequence;
  record.status = status;
  return record;
}

void add_open(Vectors& vectors) {
  wire::OpenRequest open;
  open.slots = 4;
  open.client_nonce = kClientNonce;
  open.lock_delay_ms = 250;
  vectors.add("open without a cookie", "client", kClientKey, request_header(kClientId, 11), open);
  wire::OpenReply answer;
  answer.status = wire::Status::kCookie;
  answer.cookie = bytes16(0xC0);
  vectors.add("open answered with a cookie", "client", kClientKey,
              answer_header(kClientId, 11, wire::Kind::kReply), answer);
  open.cookie = answer.cookie;
  vectors.add("open with the cookie", "client", kClientKey, request_header(kClientId, 12), open);
  answer = {};
  answer.slots = 4;
  answer.session_id = kSessionId;
  answer.node_nonce = kNodeNonce;
  answer.term_ns = 5 * kSecond;
  answer.lease_end_ns = kNow + 5 * kSecond;
  vectors.add("open granted", "client", kClientKey,
              answer_header(kClientId, 12, wire::Kind::kReply), answer);
}

void add_report(Vectors& vectors, const SecretKey& key) {
  wire::ProbeReport report;
  report.slot = 2;
  report.clock = wire::kReportClockMonotonic;
  report.sequence = 4;
  report.session_id = kSessionId + 1;
  report.span_ns = kSecond;
  report.requests = 120;
  report.replies = 118;
  report.repeats = 3;
  report.unmatched = 1;
  report.errors = 2;
  report.pushes = 7;
  report.p50_ns = 84'000;
  report.p99_ns = 131'500;
  report.sum_ns = 10'200'300;
  vectors.add("probe report", "session", key, request_header(kSessionId, 91), report);
  wire::Reply denied;
  denied.op = report.op;
  denied.slot = report.slot;
  denied.sequence = report.sequence;
  denied.status = wire::Status::kDenied;
  vectors.add("probe report about another's session, denied", "session", key,
              answer_header(kSessionId, 91, wire::Kind::kReply), denied);
}

void add_operations(Vectors& vectors, const SecretKey& key) {
  wire::Request acquire = request(wire::Op::kAcquire, 1, 1, "orders/17");
  acquire.argument = 10 * kSecond;
  acquire.predicted_release_ns = kNow + 200 * kMillisecond;
  const wire::Request renew = request(wire::Op::kRenew, 0, 1, "");
  vectors.add("acquire and renew in one datagram", "session", key,
              request_header(kSessionId, 0xFEDCBA9876543210), acquire, renew);
  wire::Reply queued = reply(acquire, wire::Status::kQueued);
  queued.waiters = 2;
  queued.wait_forecast_us = 1500;
  queued.term_ns = 5 * kSecond;
  wire::Reply renewed = reply(renew, wire::Status::kOk);
  renewed.lease_end_ns = kNow + 6 * kSecond;
  renewed.term_ns = 5 * kSecond;
  vectors.add("queued, and renewed", "session", key,
              answer_header(kSessionId, 0xFEDCBA9876543210, wire::Kind::kReply), queued, renewed);
  wire::Reply granted = reply(acquire, wire::Status::kOk);
  granted.token = (std::uint64_t{1} << 40) + 5;
  granted.ticket = 0x1122334455667788;
  granted.lease_end_ns = kNow + 7 * kSecond;
  granted.term_ns = 5 * kSecond;
  vectors.add("the grant, pushed", "session", key, answer_header(kSessionId, 0, wire::Kind::kPush),
              granted);
  wire::Request release = request(wire::Op::kRelease, 1, 2, "orders/17");
  release.argument = granted.token;
  release.predicted_release_ns = kNow + 230 * kMillisecond;
  vectors.add("release, query, time", "session", key, request_header(kSessionId, 77), release,
              request(wire::Op::kQuery, wire::kNoSlot, 0, "orders/17"),
              request(wire::Op::kTime, wire::kNoSlot, 0, ""));
  wire::Reply released = reply(release, wire::Status::kOk);
  released.clock_residual_ns = -50'000;
  released.behaviour_residual_ns = 30 * kMillisecond;
  wire::Reply time = reply(request(wire::Op::kTime, wire::kNoSlot, 0, ""), wire::Status::kOk);
  time.earliest_ns = kNow + 49'750;
  time.latest_ns = kNow + 50'250;
  time.sigma_ns = 40;
  vectors.add("released; free; the time", "session", key,
              answer_header(kSessionId, 77, wire::Kind::kReply), released,
              reply(request(wire::Op::kQuery, wire::kNoSlot, 0, ""), wire::Status::kOk), time);
}

void add_rest(Vectors& vectors, const SecretKey& key) {
  wire::Request cancel = request(wire::Op::kCancel, 0, 2, "");
  cancel.other_slot = 2;
  cancel.argument = 9;
  wire::Request semaphore = request(wire::Op::kAcquire, 3, 4294967295U, std::string(64, 'k'));
  semaphore.mode = wire::Mode::kSemaphore;
  semaphore.permits = 2;
  semaphore.permits_max = 10;
  vectors.add("cancel; two permits of ten", "session", key, request_header(kSessionId, 78), cancel,
              semaphore);
  wire::Request group = request(wire::Op::kAcquireGroup, 2, 10, "");
  group.permits = 2;
  group.other_slot = 1;
  wire::More names;
  const std::vector<std::uint8_t> body{3, 0, 0, 1, 'a', 3, 0, 1, 2, 'b', 'c'};
  std::copy(body.begin(), body.end(), names.body.begin());
  vectors.add("group of two", "session", key, request_header(kSessionId, 79), group, names);
  wire::Reply granted = reply(group, wire::Status::kOk);
  granted.lease_end_ns = kNow + 7 * kSecond;
  granted.term_ns = 5 * kSecond;
  wire::More grants;
  wire::store(grants.body.data(), wire::Grant{(std::uint64_t{1} << 40) + 6, 66});
  wire::store(grants.body.data() + sizeof(wire::Grant),
              wire::Grant{(std::uint64_t{1} << 40) + 7, 77});
  vectors.add("group granted", "session", key, answer_header(kSessionId, 79, wire::Kind::kReply),
              granted, grants);
  wire::Reply notice;
  notice.status = wire::Status::kRevoked;
  notice.token = (std::uint64_t{1} << 40) + 6;
  vectors.add("notice: taken over", "session", key, answer_header(kSessionId, 0, wire::Kind::kPush),
              notice);
  wire::Reply advance;
  advance.op = wire::Op::kAdvance;
  advance.token = (std::uint64_t{1} << 40) + 9;
  advance.lease_end_ns = kNow + 2 * kSecond;
  advance.ticket = 0x0123456789ABCDEF;
  wire::More lock;
  const std::vector<std::uint8_t> lock_name{3, 0, 0, 2, 'b', 'c'};
  std::copy(lock_name.begin(), lock_name.end(), lock.body.begin());
  const wire::Header advance_header = answer_header(kSessionId, 0, wire::Kind::kPush);
  vectors.add("granted in advance", "session", key, advance_header, advance, lock);
  wire::Request keep = request(wire::Op::kAdvance, 1, 12, "bc");
  keep.flags = wire::kUsedInAdvance;
  keep.set_used_after_us(70'000);
  keep.argument = advance.token;
  wire::Request give_back = request(wire::Op::kRecall, 2, 13, "bc");
  give_back.argument = advance.token;
  vectors.add("kept; given back unused", "session", key, request_header(kSessionId, 82), keep,
              give_back);
  advance.op = wire::Op::kRecall;
  vectors.add("called back", "session", key, advance_header, advance, lock);
  wire::Reply ask;
  ask.op = wire::Op::kAskRenewal;
  ask.lease_end_ns = kNow + kSecond;
  ask.term_ns = 5 * kSecond;
  vectors.add("request to renew", "session", key, answer_header(kSessionId, 0, wire::Kind::kPush),
              ask);
  vectors.add("close", "session", key, request_header(kSessionId, 80),
              request(wire::Op::kClose, 0, 3, ""));
  wire::Header error = answer_header(kSessionId, 80, wire::Kind::kError);
  error.status = static_cast<std::uint8_t>(wire::Status::kNoSession);
  vectors.add_error(error);
}

ordered_json mac_vectors() {
  ordered_json list = ordered_json::array();
  std::vector<std::uint8_t> message(100);
  for (std::size_t i = 0; i < message.size(); ++i) message[i] = static_cast<std::uint8_t>(i);
  for (const std::size_t size : {0, 1, 2, 3, 4, 15, 16, 17, 18, 31, 32, 33, 48, 63, 64, 95, 100}) {
    const Mac mac = compute_mac(key_of(0x00), std::span(message).first(size));
    list.push_back({{"message", hex(message.data(), size)}, {"mac", hex(mac.data(), 16)}});
  }
  return list;
}

std::string all_vectors() {
  const SecretKey session_key =
      derive_session_key(kClientKey, kClientNonce, kNodeNonce, kSessionId);
  Vectors vectors;
  add_open(vectors);
  add_operations(vectors, session_key);
  add_report(vectors, session_key);
  add_rest(vectors, session_key);
  const ordered_json all{{"protocol", "driftlock"},
                         {"version", wire::kVersion},
                         {"client_key", hex(kClientKey.words.data(), 32)},
                         {"session_key",
                          {{"client_nonce", hex(kClientNonce.data(), 16)},
                           {"node_nonce", hex(kNodeNonce.data(), 16)},
                           {"session_id", text(kSessionId)},
                           {"key", hex(session_key.words.data(), 32)}}},
                         {"mac", mac_vectors()},
                         {"datagrams", vectors.take()}};
  return all.dump(1) + "\n";
}

TEST(ProtocolVectors, AreWhatThisCodeDoes) {
  const char* path = std::getenv("DRIFTLOCK_VECTORS");
  ASSERT_NE(path, nullptr) << "DRIFTLOCK_VECTORS says where docs/protocol-vectors.json is";
  const std::string expected = all_vectors();
  if (std::getenv("DRIFTLOCK_UPDATE_VECTORS") != nullptr) std::ofstream(path) << expected;
  std::ifstream file(path);
  std::stringstream found;
  found << file.rdbuf();
  EXPECT_TRUE(found.str() == expected)
      << "the protocol has changed: is that meant? Then DRIFTLOCK_UPDATE_VECTORS=1 writes " << path
      << " anew, and docs/protocol.md wants a look";
}

}  // namespace
}  // namespace driftlock
