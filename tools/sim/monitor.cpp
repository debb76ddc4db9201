// Monitor: what the node was asked and answered. monitor_checks.cpp judges it.
#include "tools/sim/monitor.hpp"

#include <algorithm>

#include "src/lock/lock_table.hpp"

namespace driftlock::sim {
namespace {

using wire::Op;
using wire::Reply;
using wire::Request;
using wire::Status;

// Not an answer to the request but to its number; the next one may be another.
bool refuses_number(Status status) {
  return status == Status::kStaleSequence || status == Status::kMisordered ||
         status == Status::kFalseRepeat || status == Status::kNoSession;
}

bool acquires(Op op) {
  return op == Op::kAcquire || op == Op::kAcquireGroup;
}

}  // namespace

Monitor::Key& Monitor::key_of(std::span<const std::uint8_t> name, std::uint16_t namespace_id) {
  std::string key(name.begin(), name.end());
  key.push_back(static_cast<char>(namespace_id));
  Key& found = keys_[key];
  if (found.name.empty()) found.name = key.substr(0, key.size() - 1);
  return found;
}

void Monitor::restarted() {
  asked_.clear();
  lives_.clear();
  newest_earliest_ns_ = kLongAgo;
  for (auto& [name, key] : keys_) {
    key.waiting.clear();
    key.stakes.clear();
  }
}

// The locks that a request names: one, or those that the records after a group's name.
void Monitor::note_members(Asked& asked, std::span<const std::uint8_t> records) {
  const Request& request = asked.request;
  const auto permits = [](wire::Mode mode) {
    return mode == wire::Mode::kExclusive ? kRwPermits : std::uint16_t{1};
  };
  if (request.op != Op::kAcquireGroup) {
    const bool semaphore = request.mode == wire::Mode::kSemaphore;
    asked.members.push_back(
        {&key_of({request.key.data(), request.key_length}, request.namespace_id),
         semaphore ? std::uint16_t{request.permits} : permits(request.mode),
         semaphore ? std::uint16_t{request.permits_max} : kRwPermits,
         {}});
    return;
  }
  std::vector<std::uint8_t> names;
  for (std::size_t i = 1; i <= request.other_slot; ++i) {
    const auto more = wire::load<wire::More>(records.data() + i * wire::kRecordBytes);
    names.insert(names.end(), more.body.begin(), more.body.end());
  }
  const std::uint8_t* at = names.data();
  for (std::uint16_t i = 0; i < request.permits; ++i) {
    const auto mode = static_cast<wire::Mode>(at[2]);
    asked.members.push_back(
        {&key_of({at + wire::kGroupKeyHeadBytes, at[3]}, wire::load<std::uint16_t>(at)),
         permits(mode),
         kRwPermits,
         {}});
    at += wire::kGroupKeyHeadBytes + at[3];
  }
}

void Monitor::see_open(std::span<const std::uint8_t> request, std::span<const std::uint8_t> reply) {
  const auto asks = wire::load<wire::OpenRequest>(wire::record(request.data(), 0));
  const auto open = wire::load<wire::OpenReply>(wire::record(reply.data(), 0));
  if (open.status != Status::kOk) return;
  Life& life = lives_[open.session_id];
  life.lease_end_ns = std::max(life.lease_end_ns, Nanoseconds{open.lease_end_ns});
  life.delay_ns = Nanoseconds{asks.lock_delay_ms} * kMillisecond;
  promised_this_turn_ns_ = std::max(promised_this_turn_ns_, Nanoseconds{open.lease_end_ns});
}

void Monitor::replied(std::span<const std::uint8_t> request, std::span<const std::uint8_t> reply,
                      bool tampered) {
  const auto header = wire::load<wire::Header>(reply.data());
  if (header.kind != wire::Kind::kReply) return;
  if (tampered) {
    events_.violate("forgery", "the node answered a datagram that its sender did not sign");
    return;
  }
  if (wire::load<Op>(wire::record(reply.data(), 0)) == Op::kOpen) return see_open(request, reply);
  for (std::size_t i = 0; i < header.op_count; ++i) {
    const auto asks = wire::load<Request>(wire::record(request.data(), i));
    const auto records = reply.subspan(wire::record(reply.data(), i) - reply.data());
    if (asks.op == Op::kMore) continue;
    ++totals_.operations;
    if (asks.slot == wire::kNoSlot) continue;
    Asked& asked = asked_[{header.session_id, asks.sequence, asks.slot}];
    if (asked.arrival == 0) {
      asked.request = asks;
      asked.arrival = ++arrivals_;
      note_members(asked, request.subspan(wire::record(request.data(), i) - request.data()));
    }
    if (asks.op == Op::kCancel && wire::load<Reply>(records.data()).status == Status::kOk) {
      see_cancel(header.session_id, asks);
    }
    see(header.session_id, asked, records);
  }
}

void Monitor::see_cancel(std::uint64_t session, const Request& request) {
  const auto found =
      asked_.find({session, static_cast<std::uint32_t>(request.argument), request.other_slot});
  if (found == asked_.end()) return;
  Asked& target = found->second;
  const bool had = target.final && target.answer.status == Status::kOk && !target.cancelled;
  target.cancelled = true;
  for (const Member& member : target.members) {
    member.key->waiting.erase(target.arrival);
    if (had && acquires(target.request.op)) give_back(*member.key, member.grant.token);
  }
}

void Monitor::give_back(Key& key, std::uint64_t token) {
  const auto stake = key.stakes.find(token);
  if (stake != key.stakes.end() && --stake->second.depth == 0) key.stakes.erase(stake);
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
  see(header.session_id, found->second, push.subspan(wire::record(push.data(), 0) - push.data()));
}

void Monitor::see(std::uint64_t session, Asked& asked, std::span<const std::uint8_t> records) {
  const auto reply = wire::load<Reply>(records.data());
  if (refuses_number(reply.status)) return;
  if (reply.lease_end_ns != 0) {
    promised_this_turn_ns_ = std::max(promised_this_turn_ns_, Nanoseconds{reply.lease_end_ns});
    Life& life = lives_[session];
    life.lease_end_ns = std::max(life.lease_end_ns, Nanoseconds{reply.lease_end_ns});
  }
  if (asked.final) return compare(asked, records);
  if (reply.status == Status::kQueued) {
    if (!asked.queued) {
      asked.queued = true;
      asked.queued_ns = events_.now_ns();
      // A group may hold some of its locks already, beside others: its place is not checked.
      if (asked.request.op == Op::kAcquire) {
        asked.members.front().key->waiting[asked.arrival] = &asked;
      }
    }
    return check_deadline(asked, true);
  }
  if (asked.request.op == Op::kAcquireGroup && reply.status == Status::kOk) {
    for (std::size_t i = 0; i < asked.members.size(); ++i) {
      const auto more = wire::load<wire::More>(records.data() + (1 + i / wire::kGrantsPerRecord) *
                                                                    wire::kRecordBytes);
      asked.members[i].grant = wire::load<wire::Grant>(
          more.body.data() + i % wire::kGrantsPerRecord * sizeof(wire::Grant));
    }
  } else if (!asked.members.empty()) {
    asked.members.front().grant = {reply.token, reply.ticket};
  }
  see_final(session, asked, reply);
}

void Monitor::see_final(std::uint64_t session, Asked& asked, const Reply& reply) {
  asked.final = true;
  asked.answer = reply;
  const Request& request = asked.request;
  check_timeout(session, asked);
  if (asked.queued && request.op == Op::kAcquire) {
    asked.members.front().key->waiting.erase(asked.arrival);
  }
  if (reply.status != Status::kOk) return;
  switch (request.op) {
    case Op::kAcquire:
    case Op::kAcquireGroup:
      if (asked.queued) check_deadline(asked, false);
      return see_granted(session, asked);
    case Op::kConvert:
      return see_converted(session, asked);
    case Op::kReclaim:
      return see_reclaimed(session, asked);
    case Op::kRelease:
      return give_back(*asked.members.front().key, request.argument);
    case Op::kClose:
      lives_[session].closed = true;
      return;
    default:
      return;
  }
}

void Monitor::see_granted(std::uint64_t session, Asked& asked) {
  if ((asked.request.flags & wire::kTakeOver) != 0 && !asked.queued) take_over(asked, session);
  for (const Member& member : asked.members) {
    granted_.push_back({&asked, &member, session, asked.queued});
  }
}

// In another mode, and where that takes more than before, under a new token.
void Monitor::see_converted(std::uint64_t session, Asked& asked) {
  const Member& member = asked.members.front();
  const auto stake = member.key->stakes.find(asked.request.argument);
  if (member.grant.token != asked.request.argument) {
    if (stake != member.key->stakes.end()) member.key->stakes.erase(stake);
    granted_.push_back({&asked, &member, session, true});
  } else if (stake != member.key->stakes.end()) {
    stake->second.permits = member.permits;
  }
}

void Monitor::see_reclaimed(std::uint64_t session, Asked& asked) {
  const Member& member = asked.members.front();
  Key& key = *member.key;
  key.session_of_token[member.grant.token] = session;
  std::uint32_t used = member.permits;
  for (const auto& [token, stake] : key.stakes) used += stake.permits;
  // A ticket may be older than what others hold by now; they give way to newer ones alone.
  if (used > member.size) {
    key.stakes.erase(key.stakes.begin(), key.stakes.lower_bound(member.grant.token));
  }
  key.stakes[member.grant.token] = {session, member.permits, 1};
}

// What else the session has of it stays.
void Monitor::take_over(const Asked& asked, std::uint64_t session) {
  Key& key = *asked.members.front().key;
  std::erase_if(key.stakes, [session](const auto& each) { return each.second.session != session; });
  taken_over_(key.name, asked.members.front().grant.token - 1);
}

}  // namespace driftlock::sim
