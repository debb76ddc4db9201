// Monitor: the oracle that stands at the node's port and knows true time. It reads what the node
// answers and checks what can be seen there: a repeat has the same answer, tokens rise per lock,
// waiters are served in order of arrival and before newcomers, deadlines are kept, nothing is
// granted while the clock is LOST or the leases of the life before may run, nor what another holds
// whose lease and lock delay are not over by `earliest`; no lease ends past what is on the disk,
// nothing forged is answered. One thread.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/lock/wire.hpp"
#include "tools/sim/events.hpp"

namespace driftlock::sim {

// What the node was at the time of a turn.
struct NodeMoment {
  ClockReading now;
  Nanoseconds ready_after_tai_ns = kLongAgo;
  Nanoseconds horizon_tai_ns = kNever;       // promised on disk
  Nanoseconds old_leases_end_ns = kLongAgo;  // true time; promises of the lives before
};

class Monitor {
 public:
  Monitor(Events& events, SimTotals& totals) : events_(events), totals_(totals) {}

  // The node begins another life: its sessions are new.
  void restarted();
  // The node could not keep deadlines until now.
  void excuse() { excused_until_ns_ = events_.now_ns(); }

  void replied(std::span<const std::uint8_t> request, std::span<const std::uint8_t> reply,
               bool tampered);
  void pushed(std::span<const std::uint8_t> push);
  // Called with the key and the newest token that no longer counts.
  using TakenOver = std::function<void(const std::string&, std::uint64_t)>;
  void on_take_over(TakenOver taken_over) { taken_over_ = std::move(taken_over); }
  // All that one turn of the node sent has been told.
  void turn_over(const NodeMoment& moment);

  // The newest lease end that the node has promised in its lives so far, TAI.
  [[nodiscard]] Nanoseconds promised_tai_ns() const { return promised_tai_ns_; }

 private:
  struct Name {
    std::uint64_t session = 0;
    std::uint32_t sequence = 0;
    std::uint8_t slot = 0;
    friend bool operator==(const Name&, const Name&) = default;
  };
  struct Hash {
    std::size_t operator()(const Name& name) const {
      return (name.session * 0x9E3779B97F4A7C15ULL) ^
             ((std::uint64_t{name.sequence} << 8 | name.slot) * 0xC2B2AE3D27D4EB4FULL);
    }
  };
  struct Key;
  struct Member {  // of what is asked for: one lock, or a group's
    Key* key = nullptr;
    std::uint16_t permits = 0;
    std::uint16_t size = 0;
    wire::Grant grant;
  };
  struct Asked {
    wire::Request request;
    wire::Reply answer;
    std::vector<Member> members;
    bool final = false;
    bool queued = false;
    bool cancelled = false;     // a cancel named it
    std::uint64_t arrival = 0;  // at the node, from 1
    Nanoseconds queued_ns = 0;
  };
  // What the node has given to whom, as far as its answers tell.
  struct Stake {
    std::uint64_t session = 0;
    std::uint16_t permits = 0;
    std::uint32_t depth = 1;
  };
  struct Key {
    std::string name;
    std::uint64_t newest_token = 0;
    std::map<std::uint64_t, std::uint64_t> session_of_token;
    std::map<std::uint64_t, Asked*> waiting;  // by arrival
    std::map<std::uint64_t, Stake> stakes;    // by token
  };
  struct Granted {
    Asked* asked;
    const Member* member;
    std::uint64_t session;
    bool waited;
  };
  struct Life {  // of a session
    Nanoseconds lease_end_ns = kLongAgo;
    Nanoseconds delay_ns = 0;
    bool closed = false;
  };

  // `records`: of the answer, from its own on.
  void see(std::uint64_t session, Asked& asked, std::span<const std::uint8_t> records);
  void see_final(std::uint64_t session, Asked& asked, const wire::Reply& reply);
  void see_open(std::span<const std::uint8_t> request, std::span<const std::uint8_t> reply);
  void see_cancel(std::uint64_t session, const wire::Request& request);
  void see_granted(std::uint64_t session, Asked& asked);
  void see_converted(std::uint64_t session, Asked& asked);
  void see_reclaimed(std::uint64_t session, Asked& asked);
  void note_members(Asked& asked, std::span<const std::uint8_t> records);
  void give_back(Key& key, std::uint64_t token);
  void take_over(const Asked& asked, std::uint64_t session);
  void compare(const Asked& asked, std::span<const std::uint8_t> records);
  void check_order(const Granted& granted);
  void check_stakes(const Granted& granted);
  void check_tokens(const NodeMoment& moment);
  void check_timeout(std::uint64_t session, const Asked& asked);
  void check_deadline(const Asked& asked, bool still_waiting);
  [[nodiscard]] Key& key_of(std::span<const std::uint8_t> name, std::uint16_t namespace_id);
  [[nodiscard]] std::string describe(std::uint64_t session, const wire::Request& request) const;

  Events& events_;
  SimTotals& totals_;
  std::unordered_map<Name, Asked, Hash> asked_;
  std::map<std::string, Key> keys_;
  std::unordered_map<std::uint64_t, Life> lives_;  // by session
  TakenOver taken_over_ = [](const std::string&, std::uint64_t) {};
  std::vector<Granted> granted_;  // in this turn
  std::uint64_t arrivals_ = 0;
  Nanoseconds excused_until_ns_ = kLongAgo;
  Nanoseconds promised_tai_ns_ = kLongAgo;
  Nanoseconds newest_earliest_ns_ = kLongAgo;  // of this life's turns
  Nanoseconds promised_this_turn_ns_ = kLongAgo;
  NodeMoment last_;
};

}  // namespace driftlock::sim
