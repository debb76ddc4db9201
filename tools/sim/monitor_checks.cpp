// Monitor: what must be true of the node's answers.
#include <algorithm>

#include "tools/sim/monitor.hpp"

namespace driftlock::sim {
namespace {

using wire::Op;
using wire::Reply;
using wire::Request;
using wire::Status;

// A deadline is judged by an interval and a timer wheel of a millisecond, and pushed in a turn.
constexpr Nanoseconds kDeadlineSlackNs = 1500 * kMillisecond;

std::string text(std::uint64_t number) {
  return std::to_string(number);
}

Nanoseconds wait_of(const Request& request) {
  const std::uint64_t wait = request.op == Op::kConvert
                                 ? static_cast<std::uint64_t>(request.predicted_release_ns)
                                 : std::uint64_t{request.argument};
  return static_cast<Nanoseconds>(std::min<std::uint64_t>(wait, 1000ULL * kSecond));
}

}  // namespace

std::string Monitor::describe(std::uint64_t session, const Request& request) const {
  const Op op = request.op;
  return std::string(wire::to_string(op)) + " " +
         std::string(request.key.begin(), request.key.begin() + request.key_length) + " session " +
         text(session) + " slot " + text(request.slot) + " sequence " + text(request.sequence);
}

void Monitor::check_timeout(std::uint64_t session, const Asked& asked) {
  if (asked.answer.status != Status::kTimeout ||
      events_.now_ns() >= asked.queued_ns + wait_of(asked.request)) {
    return;
  }
  events_.violate("deadline", "a wait ended before its time: " + describe(session, asked.request));
}

// A wait that is long over, and nothing that would excuse the node.
void Monitor::check_deadline(const Asked& asked, bool still_waiting) {
  const Nanoseconds over_ns =
      std::max(asked.queued_ns + wait_of(asked.request), excused_until_ns_) + kDeadlineSlackNs;
  if (events_.now_ns() <= over_ns) return;
  events_.violate("deadline", std::string(still_waiting ? "still waiting" : "granted") +
                                  " after the deadline: " + describe(0, asked.request));
}

void Monitor::compare(const Asked& asked, std::span<const std::uint8_t> records) {
  const auto reply = wire::load<Reply>(records.data());
  const Reply& first = asked.answer;
  const bool given_up = reply.status == Status::kCancelled && asked.cancelled;
  const bool ended = reply.status == Status::kSessionEnded && first.status == Status::kOk;
  if (given_up || ended) return;
  bool same = reply.status == first.status && reply.token == first.token &&
              reply.clock_residual_ns == first.clock_residual_ns &&
              reply.behaviour_residual_ns == first.behaviour_residual_ns;
  if (same && asked.request.op == Op::kAcquireGroup && reply.status == Status::kOk) {
    for (std::size_t i = 0; i < asked.members.size(); ++i) {
      const auto more = wire::load<wire::More>(records.data() + (1 + i / wire::kGrantsPerRecord) *
                                                                    wire::kRecordBytes);
      const auto grant = wire::load<wire::Grant>(more.body.data() +
                                                 i % wire::kGrantsPerRecord * sizeof(wire::Grant));
      same = same && grant.token == asked.members[i].grant.token;
    }
  }
  if (same) return;
  const Status was = first.status;
  const Status is = reply.status;
  events_.violate("once", std::string("a repeat got another answer: ") + wire::to_string(was) +
                              " token " + text(first.token) + ", then " + wire::to_string(is) +
                              " token " + text(reply.token) + ": " + describe(0, asked.request));
}

void Monitor::turn_over(const NodeMoment& moment) {
  if (promised_this_turn_ns_ > moment.horizon_tai_ns) {
    events_.violate("horizon", "a lease ends past the horizon on disk");
  }
  promised_tai_ns_ = std::max(promised_tai_ns_, promised_this_turn_ns_);
  promised_this_turn_ns_ = kLongAgo;
  newest_earliest_ns_ = std::max(newest_earliest_ns_, moment.now.tai.earliest);
  if (granted_.empty()) return;
  totals_.grants += granted_.size();
  const Granted& any = granted_.front();
  if (moment.now.state == ClockState::kLost) {
    events_.violate("lost-clock", "granted while the node's clock was LOST: " +
                                      describe(any.session, any.asked->request));
  }
  check_tokens(moment);
  granted_.clear();
}

void Monitor::check_tokens(const NodeMoment& moment) {
  std::sort(granted_.begin(), granted_.end(), [](const Granted& a, const Granted& b) {
    const std::uint64_t first = a.member->grant.token;
    const std::uint64_t second = b.member->grant.token;
    // A lock taken again has the token of the wait that was granted in the same turn.
    return first != second ? first < second : a.waited && !b.waited;
  });
  for (const Granted& granted : granted_) {
    Key& key = *granted.member->key;
    if ((granted.asked->request.flags & wire::kTakeOver) != 0 && !granted.waited) {
      std::erase_if(key.stakes, [&](const auto& stake) {  // those granted in the same turn, too
        return stake.second.session != granted.session;
      });
    }
    const std::uint64_t token = granted.member->grant.token;
    if (granted.asked->cancelled) {
      // Given back already, perhaps after it was taken again: that was no new grant.
      key.session_of_token.try_emplace(token, granted.session);
      continue;
    }
    const auto known = key.session_of_token.find(token);
    const bool reentered = known != key.session_of_token.end() && known->second == granted.session;
    if (reentered && !granted.waited && granted.asked->request.mode != wire::Mode::kSemaphore) {
      const Stake none{granted.session, granted.member->permits, 0};
      ++key.stakes.try_emplace(token, none).first->second.depth;
      continue;
    }
    // A lock that was reclaimed may be taken again by its holder, but nothing fresh is given.
    if (events_.now_ns() <= moment.old_leases_end_ns) {
      events_.violate("restart", "granted while leases of the life before may run: " +
                                     describe(granted.session, granted.asked->request));
    }
    // A reader's token in a group is told when the group has all of its locks: others may have come
    // between.
    const bool late_told =
        granted.asked->request.op == Op::kAcquireGroup && granted.member->permits == 1;
    if (token <= key.newest_token && !late_told) {
      events_.violate("token", "token " + text(token) + " after " + text(key.newest_token) + ": " +
                                   describe(granted.session, granted.asked->request));
      return;
    }
    key.newest_token = std::max(key.newest_token, token);
    key.session_of_token[token] = granted.session;
    check_order(granted);
    check_stakes(granted);
    if (events_.tracing()) {
      events_.trace("node grants " + key.name.substr(0, 2) + " token " + text(token) +
                    " to session " + text(granted.session));
    }
    key.stakes[token] = {granted.session, granted.member->permits, 1};
  }
}

// Whoever came before and is waiting still has been passed over.
void Monitor::check_order(const Granted& granted) {
  const Request& request = granted.asked->request;
  const bool out_of_turn = request.op == Op::kConvert || (request.flags & wire::kTakeOver) != 0;
  const auto& waiting = granted.member->key->waiting;
  if (waiting.empty() || out_of_turn) return;
  const auto& [arrival, first] = *waiting.begin();
  if (arrival > granted.asked->arrival) return;
  events_.violate("order", "granted " + describe(granted.session, request) + " before " +
                               describe(0, first->request));
}

// The grantor's rule: to another only after a release, or when `earliest` is past the lease's end
// and the delay that its session asked for.
void Monitor::check_stakes(const Granted& granted) {
  const Member& member = *granted.member;
  std::uint32_t used = member.permits;
  const Stake* other = nullptr;
  std::uint64_t other_token = 0;
  for (const auto& [token, stake] : member.key->stakes) {
    const Life& life = lives_[stake.session];
    if (life.closed || newest_earliest_ns_ > life.lease_end_ns + life.delay_ns) continue;
    used += stake.permits;
    other = &stake;
    other_token = token;
  }
  if (used <= member.size) return;
  events_.violate("grantor", member.key->name + " is granted while session " +
                                 text(other->session) + " has it under token " + text(other_token) +
                                 ": " + describe(granted.session, granted.asked->request));
}

}  // namespace driftlock::sim
