// PeerList: who belongs to the cluster, and where its gossip is heard: from the configuration, or
// from the coordinator's node records. Written by whoever learns of a change, read by the gossip
// thread, which is given a new list as a whole. Invariant: no id twice.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace driftlock {

using NodeId = std::uint64_t;  // 0: nobody
inline constexpr NodeId kNobody = 0;

struct Peer {
  NodeId id = kNobody;
  std::uint32_t ipv4 = 0;  // host byte order
  std::uint16_t udp_port = 0;
  friend bool operator==(const Peer&, const Peer&) = default;
};

class PeerList {
 public:
  PeerList() = default;
  // Sorted by id; of an id given twice the first counts.
  explicit PeerList(std::vector<Peer> peers) : peers_(std::move(peers)) {
    std::stable_sort(peers_.begin(), peers_.end(),
                     [](const Peer& a, const Peer& b) { return a.id < b.id; });
    const auto same = [](const Peer& a, const Peer& b) { return a.id == b.id; };
    peers_.erase(std::unique(peers_.begin(), peers_.end(), same), peers_.end());
  }

  [[nodiscard]] std::size_t size() const { return peers_.size(); }
  [[nodiscard]] const Peer& at(std::size_t index) const { return peers_[index]; }
  [[nodiscard]] const std::vector<Peer>& all() const { return peers_; }
  // Null where nobody has that id.
  [[nodiscard]] const Peer* find(NodeId id) const {
    const auto at =
        std::lower_bound(peers_.begin(), peers_.end(), id,
                         [](const Peer& peer, NodeId wanted) { return peer.id < wanted; });
    return at != peers_.end() && at->id == id ? &*at : nullptr;
  }
  friend bool operator==(const PeerList&, const PeerList&) = default;

 private:
  std::vector<Peer> peers_;
};

}  // namespace driftlock
