#include "tools/sim/monitor.hpp"

#include <algorithm>

namespace driftlock::sim {
namespace {

using wire::Op;
using wire::Reply;
using wire::Request;
using wire::Status;

// A deadline is judged by an interval and a timer wheel of a millisecond, and pushed in a turn.
constexpr Nanoseconds kDeadlineSlackNs = 1500 * kMillisecond;

// Not an answer to the request but to its number; the next one may be another.
bool refuses_number(Status status) {
  return status == Status::kStaleSequence || status == Status::kMisordered ||
         status == Status::kFalseRepeat || status == Status::kNoSession;
}

std::string text(std::uint64_t number) {
  return std::to_string(number);
}

}  // namespace

Monitor::Key& Monitor::key_of(const Request& request) {
  std::string name(request.key.begin(), request.key.begin() + request.key_length);
  name.push_back(static_cast<char>(request.namespace_id));
  return keys_[name];
}

std::string Monitor::describe(std::uint64_t session, const Request& request) const {
  const Op op = request.op;
  return std::string(wire::to_string(op)) + " " +
         std::string(request.key.begin(), request.key.begin() + request.key_length) + " session " +
         text(session) + " slot " + text(request.slot) + " sequence " + text(request.sequence);
}

void Monitor::restarted() {
  asked_.clear();
  for (auto& [name, key] : keys_) key.waiting.clear();
}

void Monitor::replied(std::span<const std::uint8_t> request, std::span<const std::uint8_t> reply,
                      bool tampered) {
  const auto header = wire::load<wire::Header>(reply.data());
  if (header.kind != wire::Kind::kReply) return;
  if (tampered) {
    events_.violate("forgery", "the node answered a datagram that its sender did not sign");
    return;
  }
  if (wire::load<Op>(wire::record(reply.data(), 0)) == Op::kOpen) {
    const auto open = wire::load<wire::OpenReply>(wire::record(reply.data(), 0));
    if (open.status == Status::kOk) {
      promised_this_turn_ns_ = std::max(promised_this_turn_ns_, Nanoseconds{open.lease_end_ns});
    }
    return;
  }
  for (std::size_t i = 0; i < header.op_count; ++i) {
    const auto asks = wire::load<Request>(wire::record(request.data(), i));
    const auto answer = wire::load<Reply>(wire::record(reply.data(), i));
    ++totals_.operations;
    if (asks.slot == wire::kNoSlot) continue;
    Asked& asked = asked_[{header.session_id, asks.sequence, asks.slot}];
    if (asked.arrival == 0) {
      asked.request = asks;
      asked.arrival = ++arrivals_;
    }
    if (asks.op == Op::kCancel && answer.status == Status::kOk) {
      const auto sequence = static_cast<std::uint32_t>(asks.argument);
      const auto target = asked_.find({header.session_id, sequence, asks.other_slot});
      if (target != asked_.end()) {
        target->second.cancelled = true;
        key_of(target->second.request).waiting.erase(target->second.arrival);
      }
    }
    see(header.session_id, asked, answer);
  }
}

void Monitor::pushed(std::span<const std::uint8_t> push) {
  const auto header = wire::load<wire::Header>(push.data());
  const auto reply = wire::load<Reply>(wire::record(push.data(), 0));
  if (reply.slot == wire::kNoSlot) return;
  const auto found = asked_.find({header.session_id, reply.sequence, reply.slot});
  if (found == asked_.end()) {
    events_.violate("push", "the node pushed an answer that nobody waits for");
    return;
  }
  see(header.session_id, found->second, reply);
}

void Monitor::see(std::uint64_t session, Asked& asked, const Reply& reply) {
  if (refuses_number(reply.status)) return;
  if (reply.lease_end_ns != 0) {
    promised_this_turn_ns_ = std::max(promised_this_turn_ns_, Nanoseconds{reply.lease_end_ns});
  }
  if (asked.final) {
    compare(asked, reply);
    return;
  }
  if (reply.status == Status::kQueued) {
    if (!asked.queued) {
      asked.queued = true;
      asked.queued_ns = events_.now_ns();
      key_of(asked.request).waiting[asked.arrival] = &asked;
    }
    check_deadline(asked, true);
    return;
  }
  see_final(session, asked, reply);
}

void Monitor::see_final(std::uint64_t session, Asked& asked, const Reply& reply) {
  asked.final = true;
  asked.answer = reply;
  if (asked.request.op == Op::kReclaim && reply.status == Status::kOk) {
    key_of(asked.request).session_of_token[reply.token] = session;
  }
  if (asked.request.op != Op::kAcquire) return;
  Key& key = key_of(asked.request);
  if (asked.queued) key.waiting.erase(asked.arrival);
  if (reply.status == Status::kTimeout &&
      events_.now_ns() < asked.queued_ns + static_cast<Nanoseconds>(asked.request.argument)) {
    events_.violate("deadline",
                    "a wait ended before its time: " + describe(session, asked.request));
  }
  if (reply.status != Status::kOk) return;
  if (asked.queued) check_deadline(asked, false);
  granted_.push_back({&asked, &key, session, asked.queued});
}

void Monitor::compare(const Asked& asked, const Reply& reply) {
  const Reply& first = asked.answer;
  const bool given_up = reply.status == Status::kCancelled && asked.cancelled;
  const bool ended = reply.status == Status::kSessionEnded && first.status == Status::kOk;
  if (given_up || ended) return;
  if (reply.status != first.status || reply.token != first.token ||
      reply.clock_residual_ns != first.clock_residual_ns ||
      reply.behaviour_residual_ns != first.behaviour_residual_ns) {
    const Status was = first.status;
    const Status is = reply.status;
    events_.violate("once", std::string("a repeat got another answer: ") + wire::to_string(was) +
                                " token " + text(first.token) + ", then " + wire::to_string(is) +
                                " token " + text(reply.token) + ": " + describe(0, asked.request));
  }
}

// A wait that is long over, and nothing that would excuse the node.
void Monitor::check_deadline(const Asked& asked, bool still_waiting) {
  const auto wait_ns =
      static_cast<Nanoseconds>(std::min<std::uint64_t>(asked.request.argument, 1000ULL * kSecond));
  const Nanoseconds over_ns =
      std::max(asked.queued_ns + wait_ns, excused_until_ns_) + kDeadlineSlackNs;
  if (events_.now_ns() <= over_ns) return;
  events_.violate("deadline", std::string(still_waiting ? "still waiting" : "granted") +
                                  " after the deadline: " + describe(0, asked.request));
}

void Monitor::turn_over(const NodeMoment& moment) {
  if (promised_this_turn_ns_ > moment.horizon_tai_ns) {
    events_.violate("horizon", "a lease ends past the horizon on disk");
  }
  promised_tai_ns_ = std::max(promised_tai_ns_, promised_this_turn_ns_);
  promised_this_turn_ns_ = kLongAgo;
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
    const std::uint64_t first = a.asked->answer.token;
    const std::uint64_t second = b.asked->answer.token;
    // A lock taken again has the token of the wait that was granted in the same turn.
    return first != second ? first < second : a.waited && !b.waited;
  });
  for (const Granted& granted : granted_) {
    Key& key = *granted.key;
    const std::uint64_t token = granted.asked->answer.token;
    const auto known = key.session_of_token.find(token);
    const bool reentered = known != key.session_of_token.end() && known->second == granted.session;
    if (reentered && !granted.waited && granted.asked->request.mode != wire::Mode::kSemaphore) {
      continue;
    }
    // A lock that was reclaimed may be taken again by its holder, but nothing fresh is given.
    if (events_.now_ns() <= moment.old_leases_end_ns) {
      events_.violate("restart", "granted while leases of the life before may run: " +
                                     describe(granted.session, granted.asked->request));
    }
    if (token <= key.newest_token) {
      events_.violate("token", "token " + text(token) + " after " + text(key.newest_token) + ": " +
                                   describe(granted.session, granted.asked->request));
      return;
    }
    key.newest_token = token;
    key.session_of_token[token] = granted.session;
    check_order(granted);
  }
}

// Whoever came before and is waiting still has been passed over.
void Monitor::check_order(const Granted& granted) {
  if (granted.key->waiting.empty()) return;
  const auto& [arrival, first] = *granted.key->waiting.begin();
  if (arrival > granted.asked->arrival) return;
  events_.violate("order", "granted " + describe(granted.session, granted.asked->request) +
                               " before " + describe(0, first->request));
}

}  // namespace driftlock::sim
