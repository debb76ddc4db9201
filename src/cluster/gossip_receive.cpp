// Gossip, the receiving half: what a datagram may change.
#include <algorithm>
#include <cmath>

#include "src/cluster/gossip.hpp"

namespace driftlock {

using gossip::Message;
using gossip::Refusal;
using gossip::Type;

namespace {

constexpr std::size_t kQuestionsMax = 64;
constexpr std::size_t kAlertsMax = 64;
constexpr std::size_t kClosuresMax = 64;

}  // namespace

const Gossip::LinkEntry* Gossip::find_entry(NodeId id) const {
  const auto at = std::find_if(links_.begin(), links_.end(),
                               [&](const LinkEntry& entry) { return entry.id == id; });
  return at == links_.end() ? nullptr : &*at;
}

// A new life has a new local timescale. Where there is no room, the link used least lately goes.
Gossip::LinkEntry& Gossip::entry_of(NodeId id, std::uint32_t epoch, Nanoseconds local_ns) {
  const LinkEntry fresh{id, epoch, 0, false, local_ns, ClockLink(options_.link)};
  auto at = std::find_if(links_.begin(), links_.end(),
                         [&](const LinkEntry& entry) { return entry.id == id; });
  if (at == links_.end()) {
    if (links_.size() < options_.links_max) return links_.emplace_back(fresh);
    at = std::min_element(links_.begin(), links_.end(), [](const LinkEntry& a, const LinkEntry& b) {
      return a.used_ns < b.used_ns;
    });
    *at = fresh;
  } else if (at->epoch != epoch) {
    *at = fresh;
  }
  at->used_ns = local_ns;
  return *at;
}

Gossip::Question* Gossip::find_question(std::uint64_t nonce) {
  const auto at = std::find_if(questions_.begin(), questions_.end(),
                               [&](const Question& question) { return question.nonce == nonce; });
  return at == questions_.end() ? nullptr : &*at;
}

bool Gossip::receive(std::span<const std::uint8_t> datagram, Nanoseconds received_local_ns,
                     const LocalNow& now, const Send& send) {
  ++counters_.received;
  counters_.received_bytes += datagram.size();
  if (gossip::kind_of(datagram) == gossip::kAlertKind) return receive_alert(datagram, now);
  Message message;
  const Refusal refusal = gossip::decode(datagram, options_.key, message);
  if (refusal != Refusal::kNone) {
    ++counters_.refused[static_cast<std::size_t>(refusal)];
    return false;
  }
  const Peer* from = peers_.find(message.header.session_id);
  const bool for_us = message.head.target == options_.self || message.head.type == Type::kProbe ||
                      message.head.type == Type::kProbeAck;
  if (from == nullptr || !for_us) {
    ++counters_.strangers;
    return false;
  }
  const LinkEntry* known = find_entry(from->id);
  if (known != nullptr && known->epoch > message.header.epoch) {
    ++counters_.stale;
    return false;
  }
  const Peer peer = *from;
  membership_.heard(peer.id, message.header.epoch, now.local_ns);
  for (const gossip::Member& rumour : message.members) membership_.learn(rumour, now.local_ns);
  switch (message.head.type) {
    case Type::kPing:
      on_ping(message, peer, received_local_ns, now, send);
      return false;
    case Type::kAck:
      return on_ack(message, peer, received_local_ns, now, send);
    case Type::kProbe:
      on_probe(message, peer, now, send);
      return false;
    case Type::kProbeAck:
      break;
  }
  const Question* question = find_question(message.header.nonce);
  if (question == nullptr || question->peer.id != message.head.target) {
    ++counters_.stale;
  } else {
    questions_.erase(questions_.begin() + (question - questions_.data()));
  }
  return false;
}

void Gossip::on_ping(const Message& message, const Peer& from, Nanoseconds received_ns,
                     const LocalNow& now, const Send& send) {
  LinkEntry& entry = entry_of(from.id, message.header.epoch, now.local_ns);
  const std::uint32_t round = message.head.round;
  if (entry.met && static_cast<std::int32_t>(round - entry.round) <= 0) {
    ++counters_.stale;
    return;
  }
  entry.met = true;
  entry.round = round;
  Message ack = begin_message(Type::kAck, from.id, message.header.nonce, now);
  ack.head.t1_ns = message.head.t1_ns;
  ack.head.t2_ns = received_ns;
  ack.statements.add(own_statement(now));
  const std::size_t wanted =
      std::min<std::size_t>(message.head.statements_wanted, gossip::kStatementsMax);
  if (wanted > 1) {
    statements_.pick(chance_, from.id, message.wants, now.local_ns, now.rate, wanted,
                     ack.statements);
    membership_.tell(from.id, ack.members);
    put_links(ack, now);
  }
  post(ack, from, now, send);
}

bool Gossip::on_ack(const Message& message, const Peer& from, Nanoseconds received_ns,
                    const LocalNow& now, const Send& send) {
  Question* question = find_question(message.header.nonce);
  if (question == nullptr || question->peer.id != from.id) {
    ++counters_.stale;
    return false;
  }
  LinkEntry& entry = entry_of(from.id, message.header.epoch, now.local_ns);
  const Exchange exchange{message.head.t1_ns, message.head.t2_ns, message.head.t3_ns, received_ns};
  const ClockLink::Outcome outcome = exchange.t1_ns < question->sent_ns
                                         ? ClockLink::Outcome::kImpossible
                                         : entry.link.add(exchange);
  if (outcome != ClockLink::Outcome::kTaken) ++counters_.bad_stamps;
  if (outcome != ClockLink::Outcome::kImpossible) {
    take_statements(message, entry, received_ns, now);
    check_closures(message, entry);
  }
  ++counters_.acks;
  if (question->for_peer != kNobody) {
    const Peer* asker = peers_.find(question->for_peer);
    if (asker != nullptr) {
      post(begin_message(Type::kProbeAck, from.id, question->for_nonce, now), *asker, now, send);
    }
  }
  if (question->exchanges_left == 0) {
    questions_.erase(questions_.begin() + (question - questions_.data()));
  } else {
    --question->exchanges_left;
    question->nonce = chance_.next();
    question->sent_ns = now.local_ns;
    ping(*question, 1, now, send);
  }
  return outcome != ClockLink::Outcome::kImpossible;
}

void Gossip::on_probe(const Message& message, const Peer& from, const LocalNow& now,
                      const Send& send) {
  const Peer* target = peers_.find(message.head.target);
  if (target == nullptr || questions_.size() >= kQuestionsMax) return;
  Question question;
  question.nonce = chance_.next();
  question.peer = *target;
  question.sent_ns = now.local_ns;
  question.for_peer = from.id;
  question.for_nonce = message.header.nonce;
  questions_.push_back(question);
  ping(question, 1, now, send);
}

// When the answer arrived, as much of the peer's time had passed since t3 as the link says; a
// statement is as much older.
void Gossip::take_statements(const Message& message, const LinkEntry& entry,
                             Nanoseconds received_ns, const LocalNow& now) {
  const Interval there = entry.link.at(received_ns);
  const ClockLink::Estimate likely = entry.link.estimate(received_ns);
  const Nanoseconds t3 = message.head.t3_ns;
  // Its nanoseconds are not TAI's, by the oscillator's tolerance; the transit is short.
  const auto slack = static_cast<Nanoseconds>(
      std::ceil(static_cast<double>(there.latest - t3) * options_.link.tolerance));
  const Nanoseconds least = std::max<Nanoseconds>(there.earliest - t3 - 1, 0);
  const Nanoseconds most = std::max<Nanoseconds>(there.latest - t3 + slack + 1, least);
  const auto passed = std::clamp(likely.peer_local_ns - t3, least, most);
  for (const gossip::Statement& said : message.statements) {
    if (said.origin == options_.self || peers_.find(said.origin) == nullptr) continue;
    const auto error = Nanoseconds{std::uint32_t{said.age_error_ns}};
    HeldStatement held;
    held.said = said;
    held.local_ns = received_ns;
    held.direct = said.origin == message.header.session_id;
    held.age = {std::max<Nanoseconds>(said.age_ns - error, 0) + least, said.age_ns + error + most};
    held.age_estimate_ns = static_cast<double>(said.age_ns + passed);
    held.age_sigma_ns = std::hypot(likely.sigma_ns, static_cast<double>(error) / std::sqrt(3.0));
    statements_.put(held);
  }
  static_cast<void>(now);
}

// Their time of a third node, by the peer's link and by our own, must be the same.
void Gossip::check_closures(const Message& message, const LinkEntry& entry) {
  for (const gossip::Link& told : message.links) {
    const LinkEntry* third = find_entry(told.to);
    if (third == nullptr || third->epoch != told.to_epoch || !third->link.known() ||
        told.error_ns == wire::kUnknownError) {
      continue;
    }
    const Nanoseconds local_ns = entry.used_ns;
    const Interval via = entry.link.at(local_ns);
    const Interval ours = third->link.at(local_ns);
    const auto transit = static_cast<double>(via.latest - message.head.t3_ns);
    Closure closure;
    closure.via = entry.id;
    closure.to = told.to;
    closure.local_ns = local_ns;
    closure.residual_ns = via.middle() + told.offset_ns - ours.middle();
    closure.allowed_ns = via.half_width() + ours.half_width() +
                         Nanoseconds{std::uint32_t{told.error_ns}} + 2 +
                         static_cast<Nanoseconds>(std::fabs(transit) * options_.link.tolerance);
    ++counters_.closures;
    counters_.open_loops += closure.open() ? 1 : 0;
    const auto same = std::find_if(closures_.begin(), closures_.end(), [&](const Closure& one) {
      return one.via == closure.via && one.to == closure.to;
    });
    if (same != closures_.end()) {
      *same = closure;
    } else {
      if (closures_.size() == kClosuresMax) closures_.erase(closures_.begin());
      closures_.push_back(closure);
    }
  }
}

bool Gossip::receive_alert(std::span<const std::uint8_t> datagram, const LocalNow& now) {
  gossip::Alert alert;
  const Refusal refusal = gossip::decode(datagram, options_.key, alert);
  if (refusal != Refusal::kNone) {
    ++counters_.refused[static_cast<std::size_t>(refusal)];
    return false;
  }
  if (peers_.find(alert.header.session_id) == nullptr) {
    ++counters_.strangers;
    return false;
  }
  HeardAlert heard{alert.header.session_id, alert.header.epoch, alert.body.sequence,
                   alert.body.subject,      alert.body.stage,   alert.body.reason,
                   alert.body.offset_ns,    now.local_ns};
  const auto before = std::find_if(alerts_.begin(), alerts_.end(), [&](const HeardAlert& one) {
    return one.from == heard.from && one.subject == heard.subject;
  });
  if (before != alerts_.end()) {
    const bool newer =
        heard.from_epoch > before->from_epoch ||
        (heard.from_epoch == before->from_epoch && heard.sequence > before->sequence);
    if (!newer) {
      ++counters_.stale;
      return false;
    }
    *before = heard;
  } else {
    if (alerts_.size() == kAlertsMax) alerts_.erase(alerts_.begin());
    alerts_.push_back(heard);
  }
  ++counters_.alerts;
  return true;
}

}  // namespace driftlock
