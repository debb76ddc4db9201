#include "tools/sim/network.hpp"

namespace driftlock::sim {

template <typename Each>
void Network::each_link(const Fault& fault, Each&& each) {
  for (std::size_t i = 0; i < links_.size(); ++i) {
    if (fault.target < 0 || static_cast<std::size_t>(fault.target) == i) each(links_[i]);
  }
}

void Network::begin(const Fault& fault) {
  each_link(fault, [&](Link& link) { link.faults.push_back(fault); });
}

void Network::end(const Fault& fault) {
  each_link(fault, [&](Link& link) {
    std::erase_if(link.faults, [&](const Fault& each) {
      return each.kind == fault.kind && each.from_ns == fault.from_ns && each.size == fault.size;
    });
  });
}

bool Network::strikes(const Link& link, FaultKind kind) {
  bool struck = false;
  for (const Fault& fault : link.faults) {
    if (fault.kind == kind && random_.chance(fault.size)) struck = true;
  }
  if (struck) count(kind);
  return struck;
}

bool Network::cut(const Link& link, bool to_node) {
  for (const Fault& fault : link.faults) {
    const bool both = fault.kind == FaultKind::kPartition;
    if (!both && (fault.kind != FaultKind::kOneWay || fault.way == to_node)) continue;
    count(fault.kind);
    return true;
  }
  return false;
}

Nanoseconds Network::delay(const Link& link) {
  Nanoseconds total = base_delay_ns_ / 2 + random_.exponential(base_delay_ns_ / 2);
  for (const Fault& fault : link.faults) {
    const auto size = static_cast<Nanoseconds>(fault.size);
    if (fault.kind == FaultKind::kDelay) {
      total += random_.chance(0.5) ? size : random_.exponential(size / 2);
      count(fault.kind);
    } else if (fault.kind == FaultKind::kReordering && random_.chance(0.5)) {
      total += random_.between(0, size);
      count(fault.kind);
    }
  }
  return total;
}

void Network::tamper(Packet& packet) {
  packet.tampered = true;
  if (random_.chance(0.1)) {
    packet.bytes.resize(random_.below(packet.bytes.size()));
    return;
  }
  const std::uint64_t flips = 1 + random_.below(3);
  std::vector<std::uint8_t> before = packet.bytes;
  for (std::uint64_t i = 0; i < flips; ++i) {
    packet.bytes[random_.below(packet.bytes.size())] ^=
        static_cast<std::uint8_t>(1U << random_.below(8));
  }
  if (packet.bytes == before) packet.bytes[0] ^= 1;
}

void Network::deliver(Packet packet, Nanoseconds delay_ns) {
  const Deliver& deliver = packet.to_node ? to_node_ : to_client_;
  events_.after(delay_ns,
                [&deliver, packet = std::move(packet)]() mutable { deliver(std::move(packet)); });
}

void Network::send(Packet packet) {
  ++totals_.datagrams;
  const Link& link = links_[packet.client];
  if (cut(link, packet.to_node) || strikes(link, FaultKind::kLoss)) return;
  if (strikes(link, FaultKind::kDuplication)) deliver(packet, delay(link));
  if (strikes(link, FaultKind::kReplay)) {
    deliver(packet, random_.spread(10 * kMillisecond, 10 * kSecond));
  }
  if (strikes(link, FaultKind::kCorruption)) tamper(packet);
  const Nanoseconds delay_ns = delay(link);
  deliver(std::move(packet), delay_ns);
}

}  // namespace driftlock::sim
