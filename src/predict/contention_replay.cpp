#include "src/predict/contention_replay.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <queue>
#include <unordered_map>

#include "src/predict/evaluation.hpp"

namespace driftlock {
namespace {

constexpr std::uint32_t kNobody = ContentionModel::kNobody;
constexpr std::uint32_t kNoRequest = 0xFFFFFFFF;

// What is asked of a policy.
class Decider {
 public:
  virtual ~Decider() = default;
  virtual void asked(std::uint64_t, std::uint32_t, Nanoseconds) {}
  virtual void used(std::uint64_t, std::uint32_t, Nanoseconds, Nanoseconds) {}
  virtual void wasted() {}
  virtual void granted(Nanoseconds, Nanoseconds) {}
  virtual ContentionModel::Advance freed(std::uint64_t, Nanoseconds) { return {}; }
};

class LastHolder : public Decider {
 public:
  explicit LastHolder(bool markov) : markov_(markov) {}
  void asked(std::uint64_t lock, std::uint32_t client, Nanoseconds) override { note(lock, client); }
  void used(std::uint64_t lock, std::uint32_t client, Nanoseconds, Nanoseconds) override {
    note(lock, client);
  }
  ContentionModel::Advance freed(std::uint64_t lock, Nanoseconds) override {
    const Seen& seen = seen_[lock];
    if (!markov_) return {seen.last, kNever, 1.0};
    const auto next = seen.after.find(seen.last);
    return {next == seen.after.end() ? kNobody : next->second, kNever, 1.0};
  }

 private:
  struct Seen {
    std::uint32_t last = kNobody;
    std::unordered_map<std::uint32_t, std::uint32_t> after;
  };
  void note(std::uint64_t lock, std::uint32_t client) {
    Seen& seen = seen_[lock];
    if (markov_ && seen.last != kNobody) seen.after[seen.last] = client;
    seen.last = client;
  }
  bool markov_;
  std::unordered_map<std::uint64_t, Seen> seen_;
};

class Ours : public Decider {
 public:
  explicit Ours(ContentionModel& model) : model_(model) {}
  void asked(std::uint64_t lock, std::uint32_t client, Nanoseconds now_ns) override {
    model_.asked(lock, client, now_ns);
  }
  void used(std::uint64_t lock, std::uint32_t client, Nanoseconds gap_ns,
            Nanoseconds now_ns) override {
    model_.used(lock, client, gap_ns, now_ns);
  }
  void wasted() override { model_.wasted(); }
  void granted(Nanoseconds wait_ns, Nanoseconds recall_ns) override {
    model_.granted(wait_ns, recall_ns);
  }
  ContentionModel::Advance freed(std::uint64_t lock, Nanoseconds now_ns) override {
    return model_.freed(lock, now_ns);
  }

 private:
  ContentionModel& model_;
};

class Replay {
 public:
  Replay(std::span<const TraceRequest> trace, SpeculationPolicy policy,
         const ReplayOptions& options)
      : trace_(trace),
        one_way_ns_(options.round_trip_ns / 2),
        model_(options.model, std::pmr::new_delete_resource()),
        latencies_(trace.size(), 0.0),
        answered_(trace.size(), false) {
    if (policy == SpeculationPolicy::kOurs) {
      decider_ = std::make_unique<Ours>(model_);
    } else if (policy == SpeculationPolicy::kNone) {
      decider_ = std::make_unique<Decider>();
    } else {
      decider_ = std::make_unique<LastHolder>(policy == SpeculationPolicy::kMarkov);
    }
  }

  ReplayResult run() {
    for (std::uint32_t i = 0; i < trace_.size(); ++i) {
      while (!agenda_.empty() && agenda_.top().at_ns <= trace_[i].time_ns) step();
      now_ns_ = trace_[i].time_ns;
      ask(i);
    }
    while (!agenda_.empty()) step();
    finish();
    return result_;
  }

 private:
  enum class What : std::uint8_t {
    kArrives,  // a request, at the node
    kRelease,  // of a request's lock, at the node
    kReaches,  // a grant in advance, its client
    kRecall,   // of a grant in advance, at its client
    kExpires,  // a grant in advance, at its client
    kGivenUp,  // a grant in advance, at the node
  };
  struct Event {
    Nanoseconds at_ns;
    std::uint64_t order;
    What what;
    std::uint64_t lock;
    std::uint64_t which;  // request, or number of the grant in advance
    friend bool operator<(const Event& a, const Event& b) {  // the latest first
      return a.at_ns != b.at_ns ? a.at_ns > b.at_ns : a.order > b.order;
    }
  };
  struct Advance {
    std::uint64_t number = 0;
    std::uint32_t client = kNobody;  // kNobody: none
    bool with_client = false;        // has reached it, and may be used
    bool given_up = false;
    std::uint32_t request = kNoRequest;  // that uses it
    Nanoseconds freed_ns = 0;            // at the node
    Nanoseconds used_ns = 0;
  };
  struct Waiter {
    std::uint32_t request;
    Nanoseconds since_ns;
    Nanoseconds forecast_ns;
    double naive_ns;
    bool first;
    Nanoseconds elapsed_ns;
  };
  struct LockState {
    std::uint32_t holder = kNoRequest;
    Nanoseconds held_since_ns = 0;
    std::deque<Waiter> queue;
    Advance advance;
    std::vector<std::uint32_t> under_way;  // requests to the node, not granted yet, oldest first
    Nanoseconds recall_from_ns = kNever;   // the first who asked while it was granted in advance
    std::vector<std::uint32_t> askers;     // since then, not told to the policy yet
  };

  void plan(Nanoseconds at_ns, What what, std::uint64_t lock, std::uint64_t which) {
    agenda_.push({at_ns, order_++, what, lock, which});
  }
  void step() {
    const Event event = agenda_.top();
    agenda_.pop();
    now_ns_ = event.at_ns;
    LockState& state = locks_[event.lock];
    const auto request = static_cast<std::uint32_t>(event.which);
    const bool current = state.advance.client != kNobody && state.advance.number == event.which;
    switch (event.what) {
      case What::kArrives:
        return arrives(state, request);
      case What::kRelease:
        return released(state, request);
      case What::kReaches:
        if (current && !state.advance.given_up) reaches(state);
        return;
      case What::kRecall:
      case What::kExpires:
        if (current && state.advance.request == kNoRequest && !state.advance.given_up) {
          state.advance.given_up = true;
          plan(now_ns_ + one_way_ns_, What::kGivenUp, event.lock, event.which);
        }
        return;
      case What::kGivenUp:
        if (current) given_up(event.lock, state);
        return;
    }
  }

  // At the client.
  void ask(std::uint32_t request) {
    const TraceRequest& asked = trace_[request];
    LockState& state = locks_[asked.lock];
    Advance& advance = state.advance;
    if (advance.client == asked.client && advance.with_client && !advance.given_up &&
        advance.request == kNoRequest) {
      use(state, request, now_ns_);
      return;
    }
    state.under_way.push_back(request);
    plan(now_ns_ + one_way_ns_, What::kArrives, asked.lock, request);
  }

  void use(LockState& state, std::uint32_t request, Nanoseconds asked_ns) {
    state.advance.request = request;
    state.advance.used_ns = asked_ns;
    ++result_.hits;
    plan(now_ns_ + trace_[request].hold_ns + one_way_ns_, What::kRelease, trace_[request].lock,
         request);
  }

  // At the client. A request of its under way takes the grant; its own answer will be the same.
  void reaches(LockState& state) {
    state.advance.with_client = true;
    const auto crossed = std::find_if(
        state.under_way.begin(), state.under_way.end(),
        [&](std::uint32_t request) { return trace_[request].client == state.advance.client; });
    if (crossed == state.under_way.end()) return;
    const std::uint32_t request = *crossed;
    state.under_way.erase(crossed);
    ++result_.crossed;
    answered_[request] = true;
    latencies_[request] = static_cast<double>(now_ns_ - trace_[request].time_ns);
    use(state, request, trace_[request].time_ns);
  }

  void arrives(LockState& state, std::uint32_t request) {
    const TraceRequest& asked = trace_[request];
    const Advance& advance = state.advance;
    if (answered_[request]) return;
    // Its own grant in advance is on its way to it, and is taken when it gets there.
    if (advance.client == asked.client && advance.request == kNoRequest && !advance.given_up)
      return;
    if (advance.client != kNobody) {
      state.askers.push_back(request);
      if (state.recall_from_ns == kNever) {
        state.recall_from_ns = now_ns_;
        plan(now_ns_ + one_way_ns_, What::kRecall, asked.lock, advance.number);
      }
      return wait(state, request);
    }
    decider_->asked(asked.lock, asked.client, now_ns_);
    if (state.holder == kNoRequest && state.queue.empty()) return grant(state, request, 0, 0);
    wait(state, request);
  }

  void wait(LockState& state, std::uint32_t request) {
    const auto ahead = static_cast<std::uint32_t>(state.queue.size());
    const Nanoseconds elapsed_ns = state.holder == kNoRequest ? 0 : now_ns_ - state.held_since_ns;
    const double mean_hold = holds_ == 0 ? 0.0 : hold_sum_ns_ / static_cast<double>(holds_);
    ++result_.waited;
    state.queue.push_back({request, now_ns_,
                           model_.forecast_wait(trace_[request].lock, ahead, elapsed_ns),
                           (ahead + 1.0) * mean_hold, ahead == 0, elapsed_ns});
  }

  void grant(LockState& state, std::uint32_t request, Nanoseconds wait_ns, Nanoseconds recall_ns) {
    const TraceRequest& asked = trace_[request];
    state.holder = request;
    state.held_since_ns = now_ns_;
    std::erase(state.under_way, request);
    const Nanoseconds has_ns = now_ns_ + one_way_ns_;
    latencies_[request] = static_cast<double>(has_ns - asked.time_ns);
    decider_->granted(wait_ns, recall_ns);
    plan(has_ns + asked.hold_ns + one_way_ns_, What::kRelease, asked.lock, request);
  }

  void grant_head(LockState& state, bool after_used) {
    const Waiter head = state.queue.front();
    state.queue.pop_front();
    const Nanoseconds waited_ns = now_ns_ - head.since_ns;
    const Nanoseconds recall_ns = state.recall_from_ns == kNever
                                      ? 0
                                      : now_ns_ - std::max(state.recall_from_ns, head.since_ns);
    state.recall_from_ns = kNever;
    wait_sum_ns_ += static_cast<double>(waited_ns);
    if (head.first) model_.waited(trace_[head.request].lock, head.elapsed_ns, waited_ns);
    if (head.forecast_ns > 0) {
      ++forecasts_;
      error_sum_ns_ += std::abs(static_cast<double>(waited_ns - head.forecast_ns));
      naive_sum_ns_ += std::abs(static_cast<double>(waited_ns) - head.naive_ns);
    }
    // Behind a grant in advance that was used it waited a round trip less than it would have.
    grant(state, head.request, waited_ns - recall_ns + (after_used ? 2 * one_way_ns_ : 0),
          recall_ns);
  }

  void released(LockState& state, std::uint32_t request) {
    const std::uint64_t lock = trace_[request].lock;
    const bool used = state.advance.client != kNobody;  // and only now known to be
    if (used) {
      const Nanoseconds gap_ns = state.advance.used_ns - state.advance.freed_ns + one_way_ns_;
      state.held_since_ns = state.advance.used_ns - one_way_ns_;  // as if it had been asked for
      decider_->used(lock, state.advance.client, gap_ns, state.advance.used_ns + one_way_ns_);
      decider_->granted(0, 0);
      state.advance.client = kNobody;
      state.recall_from_ns = kNever;  // called back in vain: it would have had to wait in any case
    }
    const auto held_ns = now_ns_ - state.held_since_ns;
    model_.released(lock, held_ns);
    hold_sum_ns_ += static_cast<double>(held_ns);
    ++holds_;
    tell_askers(state, lock);
    state.holder = kNoRequest;
    if (!state.queue.empty()) return grant_head(state, used);
    freed(state, lock);
  }

  void freed(LockState& state, std::uint64_t lock) {
    const ContentionModel::Advance decided = decider_->freed(lock, now_ns_);
    if (decided.client == kNobody) return;
    ++result_.speculated;
    state.advance = {};
    state.advance.number = ++advances_;
    state.advance.client = decided.client;
    state.advance.freed_ns = now_ns_;
    plan(now_ns_ + one_way_ns_, What::kReaches, lock, advances_);
    if (decided.term_ns == kNever) return;
    plan(now_ns_ + one_way_ns_ + decided.term_ns, What::kExpires, lock, advances_);
  }

  void given_up(std::uint64_t lock, LockState& state) {
    const bool ended = state.recall_from_ns == kNever && now_ns_ > trace_.back().time_ns;
    ++(ended ? result_.open : result_.wasted);
    if (state.recall_from_ns != kNever) ++result_.recalled;
    decider_->wasted();
    state.advance.client = kNobody;
    tell_askers(state, lock);
    if (!state.queue.empty()) grant_head(state, false);
    state.recall_from_ns = kNever;
  }

  void tell_askers(LockState& state, std::uint64_t lock) {
    for (const std::uint32_t request : state.askers) {
      decider_->asked(lock, trace_[request].client, trace_[request].time_ns + one_way_ns_);
    }
    state.askers.clear();
  }

  void finish() {
    result_.grants = trace_.size();
    result_.latency_mean_ns = spread_of(latencies_).mean;
    result_.latency_p50_ns = quantile_of(latencies_, 0.5);
    result_.latency_p99_ns = quantile_of(latencies_, 0.99);
    if (result_.waited > 0)
      result_.wait_mean_ns = wait_sum_ns_ / static_cast<double>(result_.waited);
    if (forecasts_ > 0) {
      result_.forecast_error_ns = error_sum_ns_ / static_cast<double>(forecasts_);
      result_.forecast_naive_error_ns = naive_sum_ns_ / static_cast<double>(forecasts_);
    }
    result_.model = model_.counts();
    result_.open = result_.speculated - result_.hits - result_.wasted;
  }

  std::span<const TraceRequest> trace_;
  Nanoseconds one_way_ns_;
  ContentionModel model_;
  std::unique_ptr<Decider> decider_;
  std::unordered_map<std::uint64_t, LockState> locks_;
  std::priority_queue<Event> agenda_;
  std::uint64_t order_ = 0;
  std::uint64_t advances_ = 0;
  Nanoseconds now_ns_ = 0;
  std::vector<double> latencies_;  // by request, ns
  std::vector<bool> answered_;     // by request: by a grant that met it
  double wait_sum_ns_ = 0.0;
  double hold_sum_ns_ = 0.0;
  std::uint64_t holds_ = 0;
  double error_sum_ns_ = 0.0;
  double naive_sum_ns_ = 0.0;
  std::uint64_t forecasts_ = 0;
  ReplayResult result_;
};

constexpr std::array kPolicyNames = {"none", "last-holder", "markov", "ours"};

}  // namespace

const char* to_string(SpeculationPolicy policy) {
  return kPolicyNames[static_cast<std::size_t>(policy)];
}

bool parse_policy(std::string_view name, SpeculationPolicy& policy) {
  for (std::size_t i = 0; i < kPolicyNames.size(); ++i) {
    if (name != kPolicyNames[i]) continue;
    policy = static_cast<SpeculationPolicy>(i);
    return true;
  }
  return false;
}

ReplayResult replay_contention(std::span<const TraceRequest> trace, SpeculationPolicy policy,
                               const ReplayOptions& options) {
  return Replay(trace, policy, options).run();
}

}  // namespace driftlock
