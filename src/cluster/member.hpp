// Member: one node's part in the cluster, as a pure state machine: its ownership lease, the map it
// knows, taking over from the dead, handing over to the living. Owned by the cluster thread, or by
// the simulator. It is told the time, the coordinator's answers and what peers say; it says what to
// ask, what to send, and what the engines may serve. No I/O.
//
// Ownership is a lease in time, carried in one of two ways, the later end counting:
//  - written at the coordinator: my record says until when I may serve. Whoever takes over reads it
//    there, waits until its own `earliest` is past it, and swaps the map on condition that neither
//    the map nor my record has changed since. My renewal is on condition that the map has not.
//  - promised by all the others (the peers that may take over): each will not before that instant.
//    So a coordinator that elects a leader, or is gone for a while, stops nobody. This carries
//    until `grace` after the coordinator's last word, and not once the lease has lapsed.
//
// Why that is safe. A peer takes over only when its `earliest` is past my record's end and past its
// own promise to me, and I serve only while my `latest` is before one of these: for any taker my
// end came first. Only who has a
// lease written at the coordinator, and not over, takes over. A peer whose written lease I saw
// ended in the answer to my renewal is left out of "all the others": when it writes again it takes
// over nothing for `grace`, which is longer than I rely on promises without asking it; and a swap
// that it sent before fails, because my renewal changed my record. A swap of mine whose fate is
// unknown keeps me from promising to that node until I see that it can no longer be applied. The
// lease horizon (no client is promised a lease past it) is published and promised in the same two
// ways; a taker grants nothing fresh until it has passed.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/cluster/coordinator.hpp"
#include "src/cluster/node_record.hpp"
#include "src/cluster/peer_message.hpp"
#include "src/cluster/placement.hpp"
#include "src/cluster/slot_map.hpp"

namespace driftlock::cluster {

struct MemberOptions {
  std::string prefix = "/driftlock/main/";
  Nanoseconds ownership_ns = 200 * kMillisecond;  // term of the ownership lease
  Nanoseconds renew_ns = 66 * kMillisecond;       // between two renewals
  Nanoseconds grace_ns = 5 * kSecond;  // promises carry so long past the coordinator's last word
  Nanoseconds stagger_ns = 5 * kMillisecond;  // between two survivors' attempts to take over
  Nanoseconds term_default_ns = 5 * kSecond;  // of clients: the horizon stays so far ahead
  bool rebalance = true;
  Nanoseconds rebalance_after_ns = 2 * kSecond;  // members unchanged for so long
  std::uint32_t move_slots_max = 128;            // in one hand-over
};

// A hand-over to be carried out: the engine of `from` stops serving these slots and gives their
// locks away, those of `to` get them. transferred() tells the end of it.
struct MoveOrder {
  std::uint64_t id = 0;
  OwnerEndpoint from;
  OwnerEndpoint to;
  std::vector<std::uint16_t> slots;
};

enum class MemberPhase : std::uint8_t {
  kReading,  // what is written at the coordinator
  kJoining,  // waits for its own life before to be over, then writes itself down
  kMember,
  kLeaving,  // has written that it is gone
  kLeft,
  kOusted,  // another life has taken this node's id
};

class Member {
 public:
  Member(const MemberOptions& options, const NodeRecord& self);

  // Time has passed. lease_end_wanted: the latest lease end any client has asked for.
  void step(const ClockReading& now, Nanoseconds lease_end_wanted_tai_ns);
  void answered(const CoordinatorAnswer& answer, const ClockReading& now);
  void received(const PeerMessage& message, const ClockReading& now);
  void transferred(std::uint64_t move, bool done, const ClockReading& now);

  [[nodiscard]] bool next_request(CoordinatorRequest& request);
  [[nodiscard]] bool next_message(PeerMessage& message);
  [[nodiscard]] bool next_move(MoveOrder& order);
  // TAI (`middle`) at which step() is wanted at the latest.
  [[nodiscard]] Nanoseconds wake_at() const { return wake_at_ns_; }

  // Engines serve what map() gives to this node, but for moving(), while `latest` is before
  // serve_until(), and promise no lease past horizon().
  [[nodiscard]] const SlotMap& map() const { return map_; }
  [[nodiscard]] Nanoseconds serve_until() const;
  [[nodiscard]] Nanoseconds horizon() const { return horizon_ns_; }
  [[nodiscard]] const MoveOrder* moving() const { return move_ ? &*move_ : nullptr; }

  // What an operator, or the node's own doubt about its clock, asks for.
  void drain(bool draining) {
    self_.state = draining ? NodeState::kDraining : NodeState::kUp;
    due_ns_ = kLongAgo;
  }
  void want_move(std::uint16_t slot, OwnerEndpoint to) { wanted_moves_.push_back({slot, {}, to}); }
  // Gives all slots away at once, without handing over: clients do not reach this node. The engines
  // must have stopped (serve_until() is in the past from now on) before yielded() is called.
  void yield();
  void yielded() { yield_stopped_ = true; }
  void leave();  // after a drain: writes that this node is gone
  void set_guard(Nanoseconds guard_ns) { guard_ns_ = guard_ns; }  // kept on top of the bound
  void allow_take_over(bool allowed) { may_take_over_ = allowed; }
  // Clients say that they do not reach that node: it is told, and takes the hint if it hears
  // nobody.
  void report_unreachable(NodeId node);
  [[nodiscard]] bool take_yield_hint() { return std::exchange(yield_hint_, false); }

  // For people.
  struct Peer {
    NodeRecord record;
    std::int64_t mod_revision = 0;
    bool lapsed = true;                      // as of my last renewal: left out of "all the others"
    Nanoseconds promised_end_ns = kLongAgo;  // by me to it
    Nanoseconds promised_horizon_ns = kLongAgo;
    Nanoseconds got_end_ns = kLongAgo;  // by it to me
    Nanoseconds got_horizon_ns = kLongAgo;
    // A swap against it that may still be applied while neither revision has changed.
    std::int64_t taking_node_revision = 0;
    std::int64_t taking_map_revision = 0;
  };
  struct Counters {
    std::uint64_t renewals = 0;
    std::uint64_t renewals_failed = 0;
    std::uint64_t take_overs = 0;  // slots
    std::uint64_t moves = 0;       // slots
    std::uint64_t lapses = 0;
    std::uint64_t promises = 0;
    std::uint64_t yields = 0;
  };
  struct Note {  // worth a line in the log
    std::string text;
    bool trouble = false;
  };
  [[nodiscard]] MemberPhase phase() const { return phase_; }
  [[nodiscard]] bool lapsed() const { return lapsed_; }
  [[nodiscard]] const NodeRecord& self() const { return self_; }
  [[nodiscard]] const std::map<NodeId, Peer>& peers() const { return peers_; }
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] Nanoseconds confirmed_at() const { return confirmed_at_ns_; }
  [[nodiscard]] const std::string& trouble() const { return trouble_; }
  [[nodiscard]] bool next_note(Note& note);
  [[nodiscard]] const MemberOptions& options() const { return options_; }
  // Whether its lease, as far as is known here, has not passed.
  [[nodiscard]] bool seems_alive(const Peer& peer, const ClockReading& now) const;

 private:
  enum class Purpose : std::uint8_t { kRead, kJoin, kRenew, kTakeOver, kMove, kYield, kLeave };
  struct Pending {
    Purpose purpose;
    Nanoseconds begun_earliest_ns = kLongAgo;
    Nanoseconds begun_latest_ns = kLongAgo;
    Nanoseconds lease_end_ns = kLongAgo;
    Nanoseconds horizon_ns = kLongAgo;
    SlotMap map;              // what the map is to become
    NodeId gone = 0;          // take over: from whom
    std::uint32_t taken = 0;  // slots that come to this node
  };

  // member.cpp: renewals, answers
  CoordinatorRequest& ask(Purpose purpose, const ClockReading& now);
  void begin_read(const ClockReading& now);
  void begin_join(const ClockReading& now);
  void begin_renewal(const ClockReading& now);
  void confirm(const Pending& pending, const ClockReading& now);
  void absorb(const CoordinatorAnswer& answer);
  void absorb_map(const KeyValue& pair);
  void absorb_nodes(const CoordinatorAnswer& answer);
  void settle(const Pending& pending, const CoordinatorAnswer& answer, const ClockReading& now);
  void settle_join(const Pending& pending, const CoordinatorAnswer& answer,
                   const ClockReading& now);
  void check_lapse(const ClockReading& now);
  void raise_horizon();
  void note(std::string text, bool trouble = false);
  void wake(Nanoseconds at_tai_ns) { wake_at_ns_ = std::min(wake_at_ns_, at_tai_ns); }
  [[nodiscard]] std::string map_key() const { return options_.prefix + "map"; }
  [[nodiscard]] std::string nodes_key() const { return options_.prefix + "nodes/"; }
  [[nodiscard]] std::string node_key(NodeId id) const { return nodes_key() + std::to_string(id); }
  [[nodiscard]] bool waits_for(Purpose purpose) const;

  // member_peers.cpp: promises
  void ask_peers(const ClockReading& now);
  void promise(const PeerMessage& message, const ClockReading& now);
  [[nodiscard]] Nanoseconds promised_by_all(Nanoseconds Peer::*what) const;
  [[nodiscard]] Nanoseconds lease_end() const;
  [[nodiscard]] Nanoseconds horizon_wanted(const ClockReading& now) const;

  // member_map.cpp: changes of the map
  void consider_take_over(const ClockReading& now);
  [[nodiscard]] bool may_take_over_now(const ClockReading& now) const;
  void begin_take_over(NodeId gone, const ClockReading& now);
  [[nodiscard]] std::vector<OwnerEndpoint> living(const ClockReading& now, bool draining_too) const;
  void consider_move(const ClockReading& now);
  void start_move(std::vector<SlotMove> moves);
  void check_move();
  void commit_move(const ClockReading& now);
  void begin_yield(const ClockReading& now);
  void begin_map_change(Purpose purpose, const SlotMap& map, const ClockReading& now);
  [[nodiscard]] bool map_change_pending() const;
  [[nodiscard]] static std::vector<OwnerEndpoint> endpoints_of(const NodeRecord& record);

  MemberOptions options_;
  NodeRecord self_;
  MemberPhase phase_ = MemberPhase::kReading;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, Pending> pending_;
  std::deque<CoordinatorRequest> requests_;
  std::deque<PeerMessage> messages_;
  std::deque<Note> notes_;
  Nanoseconds wake_at_ns_ = kLongAgo;
  Nanoseconds due_ns_ = kLongAgo;      // the next renewal
  Nanoseconds ask_due_ns_ = kLongAgo;  // the next question to peers

  SlotMap map_;
  std::int64_t map_revision_ = 0;
  std::int64_t self_revision_ = 0;
  std::int64_t joined_revision_ = 0;  // of my record when the lease last began anew
  std::optional<NodeRecord> before_;  // my record of a life before
  std::int64_t before_revision_ = 0;
  std::map<NodeId, Peer> peers_;

  std::int64_t nodes_revision_ = 0;
  Nanoseconds lease_end_wanted_ns_ = kLongAgo;
  Nanoseconds horizon_wanted_ns_ = kLongAgo;
  Nanoseconds horizon_ns_ = kLongAgo;      // in force
  Nanoseconds written_end_ns_ = kLongAgo;  // confirmed by the coordinator
  Nanoseconds written_horizon_ns_ = kLongAgo;
  Nanoseconds confirmed_at_ns_ = kLongAgo;    // `earliest` when that was asked
  Nanoseconds continuous_since_ns_ = kNever;  // `latest` when the lease last began anew
  bool lapsed_ = true;
  Nanoseconds horizon_cap_ns_ = kNever;  // while a map is under way that tells the horizon
  std::uint64_t sequence_ = 0;
  struct Asked {
    std::uint64_t sequence = 0;
    Nanoseconds lease_end_ns = kLongAgo;
    Nanoseconds horizon_ns = kLongAgo;
  };
  std::deque<Asked> asked_;  // the latest questions to peers

  std::optional<MoveOrder> move_;
  bool move_offered_ = false;
  bool move_transferred_ = false;
  std::vector<SlotMove> wanted_moves_;
  Nanoseconds members_since_ns_ = kLongAgo;
  std::vector<OwnerEndpoint> members_;  // as of then
  bool yielding_ = false;
  bool yield_stopped_ = false;
  bool yield_hint_ = false;
  Nanoseconds guard_ns_ = 0;
  bool may_take_over_ = true;
  std::string trouble_;
  Counters counters_;
};

}  // namespace driftlock::cluster
