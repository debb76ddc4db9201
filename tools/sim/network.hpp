// Network: carries datagrams between the clients and the node, and does to them what the faults in
// force say. Every packet-level choice comes from a stream of its own. One thread.
#pragma once

#include <functional>
#include <vector>

#include "tools/sim/events.hpp"
#include "tools/sim/random.hpp"

namespace driftlock::sim {

struct Packet {
  std::uint32_t client = 0;
  std::uint16_t port = 0;  // the client's: another in each of its lives
  bool to_node = false;
  bool tampered = false;  // no longer what its sender signed
  std::vector<std::uint8_t> bytes;
};

class Network {
 public:
  using Deliver = std::function<void(Packet)>;
  Network(Events& events, Random random, std::uint32_t clients, SimTotals& totals)
      : events_(events),
        random_(random),
        totals_(totals),
        links_(clients),
        base_delay_ns_(random_.spread(10 * kMicrosecond, 2 * kMillisecond)) {}

  void connect(Deliver to_node, Deliver to_client) {
    to_node_ = std::move(to_node);
    to_client_ = std::move(to_client);
  }
  void send(Packet packet);
  // A fault of a network kind comes into force, or ends.
  void begin(const Fault& fault);
  void end(const Fault& fault);

 private:
  struct Link {
    std::vector<Fault> faults;
  };
  [[nodiscard]] Nanoseconds delay(const Link& link);
  [[nodiscard]] bool strikes(const Link& link, FaultKind kind);
  [[nodiscard]] bool cut(const Link& link, bool to_node);
  void tamper(Packet& packet);
  void deliver(Packet packet, Nanoseconds delay_ns);
  void count(FaultKind kind) { ++totals_.injected[static_cast<std::size_t>(kind)]; }
  template <typename Each>
  void each_link(const Fault& fault, Each&& each);

  Events& events_;
  Random random_;
  SimTotals& totals_;
  std::vector<Link> links_;
  Nanoseconds base_delay_ns_;
  Deliver to_node_;
  Deliver to_client_;
};

}  // namespace driftlock::sim
