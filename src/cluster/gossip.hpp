// Gossip: asks a random few peers at each round for their clock and for what they have heard of
// others, measures the way to them by four timestamps, and finds out who no longer answers. Pure:
// datagrams and time are arguments. Owned by the gossip thread. Invariants: memory and the size of
// a datagram are bounded whatever arrives; a statement that is passed on is its origin's; an answer
// is believed once, to a question that is open.
//
// A round: `fanout` peers are taken from a random walk that meets each peer once in a cycle. Each
// is pinged; its ack brings its own statement made at the very sending, and others' with their
// ages. Further pings to the same peer follow at once (exchanges), for a round trip with warm
// caches. Who does not answer is probed through others, then suspected (membership).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "src/cluster/chance.hpp"
#include "src/cluster/clock_link.hpp"
#include "src/cluster/fusion.hpp"
#include "src/cluster/gossip_wire.hpp"
#include "src/cluster/membership.hpp"
#include "src/cluster/peer_list.hpp"
#include "src/cluster/statement_table.hpp"

namespace driftlock {

struct GossipOptions {
  NodeId self = kNobody;
  std::uint32_t epoch = 0;  // of this life
  SecretKey key;
  Nanoseconds interval_ns = 250 * kMillisecond;
  std::size_t fanout = 3;
  std::size_t exchanges = 3;  // with each peer of a round
  std::size_t indirect = 3;   // peers asked to probe one that does not answer
  Nanoseconds ack_timeout_ns = 100 * kMillisecond;
  std::size_t statements_max = 128;
  std::size_t links_max = 128;
  Nanoseconds forget_ns = 10 * kSecond;
  MembershipOptions membership;  // self and epoch are filled in
  LinkLimits link;
  std::uint64_t seed = 1;
};

// This node's time and clock at one instant.
struct LocalNow {
  Nanoseconds local_ns = 0;  // since anything in this life; never steps
  LocalRate rate;
  ClockReading clock;
  double rate_ppb = 0.0;  // estimate of the rate, less 1
  gossip::Stage stage = gossip::Stage::kNormal;
  std::uint64_t grandmaster = 0;
};

// A datagram to send: finish() stamps and signs it, as near to the sending as can be.
struct Outgoing {
  Peer to;
  gossip::Buffer bytes{};
  std::size_t length = 0;
  Nanoseconds made_local_ns = 0;

  [[nodiscard]] std::span<const std::uint8_t> finish(const SecretKey& key, Nanoseconds local_ns);
};

struct GossipCounters {
  std::uint64_t rounds = 0;
  std::uint64_t sent = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t received = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t acks = 0;
  std::uint64_t timeouts = 0;
  std::uint64_t strangers = 0;   // from a node that is not on the list, or for another
  std::uint64_t stale = 0;       // repeated, reordered, or to no open question
  std::uint64_t bad_stamps = 0;  // four timestamps that cannot be, or contradict the link
  std::uint64_t closures = 0;    // loops of three looked at
  std::uint64_t open_loops = 0;  // of these, that did not close within their bounds
  std::uint64_t alerts_sent = 0;
  std::uint64_t alerts = 0;
  std::uint64_t refused[gossip::kRefusalCount] = {};
};

// One peer's view of a clock's being wrong.
struct HeardAlert {
  NodeId from = kNobody;
  std::uint32_t from_epoch = 0;
  std::uint32_t sequence = 0;
  NodeId subject = kNobody;
  gossip::Stage stage = gossip::Stage::kSuspect;
  gossip::Reason reason = gossip::Reason::kNone;
  Nanoseconds offset_ns = 0;
  Nanoseconds local_ns = 0;  // when it came
};

// A loop this node - `via` - `to` - this node, judged when `via` told of its link to `to`.
struct Closure {
  NodeId via = kNobody;
  NodeId to = kNobody;
  Nanoseconds residual_ns = 0;
  Nanoseconds allowed_ns = 0;
  Nanoseconds local_ns = 0;
  [[nodiscard]] bool open() const { return residual_ns > allowed_ns || residual_ns < -allowed_ns; }
};

class Gossip {
 public:
  using Send = std::function<void(Outgoing&)>;

  // The peer list may contain this node; it is left out.
  Gossip(const GossipOptions& options, const PeerList& peers);

  void set_peers(const PeerList& peers);
  // Begins a round where one is due, gives up on what was not answered.
  void step(const LocalNow& now, const Send& send);
  [[nodiscard]] Nanoseconds due_local_ns() const;
  // `received_local_ns`: the receive stamp. True where it was an ack that told something new.
  bool receive(std::span<const std::uint8_t> datagram, Nanoseconds received_local_ns,
               const LocalNow& now, const Send& send);
  // Tells as many peers as may be told at once, the subject among them.
  void alert(const gossip::AlertBody& body, const LocalNow& now, const Send& send);

  // All clocks known, this node's first, as they are now. Others that are dead are left out.
  void sources(const LocalNow& now, std::vector<FusionSource>& out) const;
  // How many clocks may be wrong at once for the fused bound to hold: a third of the cluster, this
  // node included; in a cluster larger than the table, a third of those that it holds.
  [[nodiscard]] std::size_t faulty_max() const {
    return (std::min(peers_.size(), options_.statements_max) + 1) / 3;
  }

  [[nodiscard]] const PeerList& peers() const { return peers_; }
  [[nodiscard]] const StatementTable& statements() const { return statements_; }
  [[nodiscard]] const Membership& membership() const { return membership_; }
  [[nodiscard]] const GossipCounters& counters() const { return counters_; }
  [[nodiscard]] const std::vector<HeardAlert>& alerts() const { return alerts_; }
  [[nodiscard]] const std::vector<Closure>& closures() const { return closures_; }
  [[nodiscard]] const ClockLink* link(NodeId id) const;

 private:
  struct LinkEntry {
    NodeId id = kNobody;
    std::uint32_t epoch = 0;
    std::uint32_t round = 0;  // the latest question of its life that was answered
    bool met = false;         // has asked this node anything in this life
    Nanoseconds used_ns = 0;
    ClockLink link;
  };
  struct Question {
    std::uint64_t nonce = 0;
    Peer peer;
    Nanoseconds sent_ns = 0;
    std::size_t exchanges_left = 0;
    bool indirect = false;      // others have been asked to probe
    NodeId for_peer = kNobody;  // asked on behalf of this one
    std::uint64_t for_nonce = 0;
  };

  void begin_round(const LocalNow& now, const Send& send);
  [[nodiscard]] const Peer& next_peer();
  void give_up(const LocalNow& now, const Send& send);
  void ping(const Question& question, std::uint8_t statements, const LocalNow& now,
            const Send& send);
  void probe(Question& question, const LocalNow& now, const Send& send);
  [[nodiscard]] gossip::Message begin_message(gossip::Type type, NodeId to, std::uint64_t nonce,
                                              const LocalNow& now);
  [[nodiscard]] gossip::Statement own_statement(const LocalNow& now);
  void put_links(gossip::Message& message, const LocalNow& now);
  void post(const gossip::Message& message, const Peer& to, const LocalNow& now, const Send& send);

  bool receive_alert(std::span<const std::uint8_t> datagram, const LocalNow& now);
  void on_ping(const gossip::Message& message, const Peer& from, Nanoseconds received_ns,
               const LocalNow& now, const Send& send);
  bool on_ack(const gossip::Message& message, const Peer& from, Nanoseconds received_ns,
              const LocalNow& now, const Send& send);
  void on_probe(const gossip::Message& message, const Peer& from, const LocalNow& now,
                const Send& send);
  void take_statements(const gossip::Message& message, const LinkEntry& entry,
                       Nanoseconds received_ns, const LocalNow& now);
  void check_closures(const gossip::Message& message, const LinkEntry& entry);
  [[nodiscard]] LinkEntry& entry_of(NodeId id, std::uint32_t epoch, Nanoseconds local_ns);
  [[nodiscard]] const LinkEntry* find_entry(NodeId id) const;
  [[nodiscard]] Question* find_question(std::uint64_t nonce);

  const GossipOptions options_;
  PeerList peers_;
  Chance chance_;
  Membership membership_;
  StatementTable statements_;
  std::vector<LinkEntry> links_;
  std::vector<Question> questions_;
  std::vector<HeardAlert> alerts_;
  std::vector<Closure> closures_;
  GossipCounters counters_;
  Nanoseconds next_round_ns_ = kLongAgo;
  std::uint32_t round_ = 0;
  std::uint32_t sequence_ = 0;
  std::uint32_t alert_sequence_ = 0;
  std::uint64_t walk_start_ = 0;
  std::uint64_t walk_stride_ = 1;
  std::uint64_t walk_at_ = 0;
};

}  // namespace driftlock
