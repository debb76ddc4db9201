// Fuzz target: gossip datagrams. The first byte says what to do with the rest: as it is, or signed,
// so that mutations pass the MAC and reach a Gossip that has talked before. Whatever comes, memory
// stays bounded and fusion stays in order.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "src/base/assert.hpp"
#include "src/cluster/gossip.hpp"

using namespace driftlock;

namespace {

const SecretKey kKey{{1, 2, 3, 4}};

LocalNow now_at(Nanoseconds local_ns) {
  LocalNow now;
  now.local_ns = local_ns;
  now.clock.state = ClockState::kSync;
  now.clock.estimate_ns = 1'800'000'000 * kSecond + local_ns;
  now.clock.tai = Interval::around(now.clock.estimate_ns, 1000);
  now.clock.sigma_ns = 100;
  return now;
}

// Long enough, with the header and the length that it needs, and a good MAC.
void make_authentic(std::vector<std::uint8_t>& bytes, std::uint64_t nonce) {
  if (bytes.size() < gossip::kBytesMin) bytes.resize(gossip::kBytesMin);
  auto header = wire::load<wire::Header>(bytes.data());
  header.magic = wire::kMagic;
  header.version = wire::kVersion;
  header.length = static_cast<std::uint16_t>(bytes.size());
  if (header.session_id > 4) header.session_id = 2;
  if (nonce != 0) header.nonce = nonce;
  wire::store(bytes.data(), header);
  bytes[sizeof(wire::Header)] = gossip::kGossipVersion;
  sign_datagram(kKey, bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  GossipOptions options;
  options.self = 1;
  options.epoch = 1;
  options.key = kKey;
  options.statements_max = 4;
  options.links_max = 2;
  Gossip node(options, PeerList({{1, 0, 1}, {2, 0, 2}, {3, 0, 3}, {4, 0, 4}}));
  std::uint64_t nonce = 0;
  std::size_t sent = 0;
  const Gossip::Send send = [&](Outgoing& out) {
    const auto bytes = out.finish(kKey, out.made_local_ns + 1);
    DRIFTLOCK_ASSERT(bytes.size() <= gossip::kBytesMax);
    nonce = wire::load<wire::Header>(bytes.data()).nonce;
    ++sent;
  };
  Nanoseconds local_ns = kSecond;
  node.step(now_at(local_ns), send);
  const std::uint8_t choice = data[0];
  std::size_t at = 1;
  while (at < size) {
    const std::size_t length = std::min<std::size_t>(size - at, 1U + data[at] * 6U);
    std::vector<std::uint8_t> bytes(data + at, data + at + length);
    at += length;
    if ((choice & 1U) != 0) make_authentic(bytes, (choice & 2U) != 0 ? nonce : 0);
    local_ns += 40 * kMillisecond;
    node.receive(bytes, local_ns, now_at(local_ns), send);
    node.step(now_at(local_ns), send);
  }
  DRIFTLOCK_ASSERT(node.statements().all().size() <= 4);
  DRIFTLOCK_ASSERT(node.alerts().size() <= 64 && node.closures().size() <= 64);
  std::vector<FusionSource> sources;
  node.sources(now_at(local_ns), sources);
  const Fused fused = fuse(sources, node.faulty_max());
  DRIFTLOCK_ASSERT(fused.verdicts.size() == sources.size());
  DRIFTLOCK_ASSERT(fused.hard.earliest <= fused.hard.latest);
  return 0;
}
