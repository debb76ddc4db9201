// GossipThread: gossips with the other nodes, fuses what they say of their clocks, and takes this
// node's clock out of service where it is the one that is wrong. What it finds goes to the clock
// thread (ClockMargin) and to whoever owns slots (take_over_allowed, hand_over_wanted, guard).
// start() and stop() by the main thread; report() by any control thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "hw/gossip_socket.hpp"
#include "src/base/seqlock.hpp"
#include "src/clock/snapshot.hpp"
#include "src/cluster/adjustment.hpp"
#include "src/cluster/gossip.hpp"
#include "src/node/options.hpp"
#include "src/predict/profile.hpp"

namespace driftlock {

// What the cluster's clocks say together, for the clock thread to widen its bound by.
struct ClockMargin {
  bool known = false;
  std::uint64_t ticks = 0;  // when it was found
  Interval tai;             // then; holds TAI as long as no more clocks lie than may
  Nanoseconds estimate_ns = 0;
  bool estimate_good = false;  // more precise than a clock that is suspected
  double min_rate = 1.0;       // TAI per tick
  double max_rate = 1.0;
  Nanoseconds guard_ns = 0;
  bool suspected = false;  // this node's clock
};

// Widens the bound so that it holds what the cluster says as well, for as long as that is young,
// and by the guard. Pure.
void apply_margin(const ClockMargin& margin, ClockSnapshot& snapshot);

struct GossipReport {
  struct Clock {
    NodeId id = kNobody;
    gossip::MemberState member = gossip::MemberState::kAlive;
    gossip::Stage stage = gossip::Stage::kNormal;
    ClockState state = ClockState::kLost;
    SourceVerdict verdict = SourceVerdict::kSilent;
    std::uint64_t grandmaster = 0;
    Nanoseconds offset_ns = 0;      // its estimate less the fused one
    Nanoseconds half_width_ns = 0;  // of its bound as it is known here
    double sigma_ns = 0.0;
    Nanoseconds age_ns = 0;
    Nanoseconds round_trip_ns = -1;  // least of late; -1: not asked yet
    bool self = false;
  };
  bool valid = false;
  Nanoseconds fused_half_width_ns = 0;
  double fused_sigma_ns = 0.0;
  std::size_t voters = 0;
  std::size_t rejected = 0;
  std::size_t faulty_max = 0;
  gossip::Stage stage = gossip::Stage::kNormal;
  gossip::Reason reason = gossip::Reason::kNone;
  Nanoseconds guard_ns = 0;
  Nanoseconds offset_ns = 0;  // own estimate less the others'
  double offset_sigma_ns = 0.0;
  Nanoseconds worst_closure_ns = 0;
  std::size_t clients = 0;
  Nanoseconds client_offset_ns = 0;
  std::uint64_t entered[6] = {};
  std::uint64_t suspects = 0;
  std::uint64_t dead = 0;
  GossipCounters counters;
  std::vector<Clock> clocks;
};

class GossipThread {
 public:
  // `own`: the clock thread's own bound, unwidened. `profiles` may be null.
  [[nodiscard]] static Result<std::unique_ptr<GossipThread>> open(const Options::Gossip& options,
                                                                  std::uint32_t epoch,
                                                                  const Seqlock<ClockSnapshot>& own,
                                                                  const ProfileTable* profiles);
  ~GossipThread();
  GossipThread(const GossipThread&) = delete;
  GossipThread& operator=(const GossipThread&) = delete;

  void start();
  void stop();

  [[nodiscard]] ClockMargin margin() const { return margin_.load(); }
  [[nodiscard]] GossipReport report() const;
  [[nodiscard]] std::uint16_t udp_port() const { return socket_->udp_port(); }

  // For whoever holds ownership leases. Any thread.
  [[nodiscard]] bool take_over_allowed() const { return may_take_.load(); }
  [[nodiscard]] bool hand_over_wanted() const { return hands_over_.load(); }
  [[nodiscard]] Nanoseconds guard_ns() const { return guard_ns_.load(); }
  void tell_owned(bool owns) { owns_.store(owns); }
  // The members changed; any thread.
  void set_peers(const PeerList& peers);

 private:
  GossipThread(const GossipOptions& options, const PeerList& peers, double client_error_ns,
               std::unique_ptr<GossipSocket> socket, const Seqlock<ClockSnapshot>& own,
               const ProfileTable* profiles, int wake);
  void run(const std::stop_token& stopping);
  void take_new_peers();
  [[nodiscard]] bool drain_socket();
  void evaluate();
  [[nodiscard]] SkewEvidence weigh(const LocalNow& now, const std::vector<FusionSource>& sources,
                                   const Fused& fused);
  void look_at_clients(const LocalNow& now, SkewEvidence& evidence);
  void publish(const LocalNow& now, const Fused& fused, const SkewEvidence& evidence);
  void tell_changes(const LocalNow& now);
  void accuse(const LocalNow& now, const std::vector<FusionSource>& sources, const Fused& fused);
  void write_report(const LocalNow& now, const std::vector<FusionSource>& sources,
                    const Fused& fused, const SkewEvidence& evidence);
  [[nodiscard]] LocalNow now_at(std::uint64_t ticks) const;
  [[nodiscard]] Nanoseconds local_of(std::uint64_t ticks) const;

  const GossipOptions options_;
  const double client_error_ns_;
  const std::unique_ptr<GossipSocket> socket_;
  const Seqlock<ClockSnapshot>& own_;
  const ProfileTable* profiles_;
  const int wake_;  // eventfd: stop, or new peers
  const double ns_per_tick_;
  const std::uint64_t ticks_begin_;
  Gossip gossip_;  // gossip thread, as all that follows
  Adjustment adjustment_;
  Gossip::Send send_;
  std::uint64_t stamped_by_kernel_ = 0;
  Nanoseconds clients_looked_ns_ = kLongAgo;
  SkewEvidence clients_;
  std::vector<NodeId> accused_;
  Nanoseconds self_alert_ns_ = kLongAgo;
  Seqlock<ClockMargin> margin_;  // writer: gossip thread; readers: any
  std::atomic<bool> may_take_{true};
  std::atomic<bool> hands_over_{false};
  std::atomic<bool> owns_{false};
  std::atomic<Nanoseconds> guard_ns_{0};
  mutable std::mutex mutex_;
  GossipReport report_;                  // guarded by mutex_
  std::unique_ptr<PeerList> new_peers_;  // guarded by mutex_
  std::jthread thread_;
};

// "ID@ADDRESS:PORT" with commas between; an Error names the part that is not.
[[nodiscard]] Result<PeerList> parse_peers(const std::string& text);

}  // namespace driftlock
