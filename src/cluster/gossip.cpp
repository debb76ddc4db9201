#include "src/cluster/gossip.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "src/base/assert.hpp"

namespace driftlock {

using gossip::Message;
using gossip::Statement;
using gossip::Type;

namespace {

constexpr std::size_t kQuestionsMax = 64;
constexpr std::size_t kAlertPeersMax = 8;
constexpr std::uint8_t kOwnOnly = 1;

std::uint32_t held_back(Nanoseconds width) {
  if (width < 0) return 0;
  return width >= Nanoseconds{wire::kUnknownError} ? wire::kUnknownError
                                                   : static_cast<std::uint32_t>(width);
}

GossipOptions completed(GossipOptions options) {
  options.membership.self = options.self;
  options.membership.epoch = options.epoch;
  return options;
}

}  // namespace

// The stamp is written last, and every statement has aged since the datagram was made.
std::span<const std::uint8_t> Outgoing::finish(const SecretKey& key, Nanoseconds local_ns) {
  const std::span<std::uint8_t> datagram(bytes.data(), length);
  if (gossip::kind_of(datagram) == gossip::kGossipKind) {
    auto head = wire::load<gossip::GossipHead>(bytes.data() + sizeof(wire::Header));
    (head.type == Type::kAck ? head.t3_ns : head.t1_ns) = local_ns;
    wire::store(bytes.data() + sizeof(wire::Header), head);
    const std::size_t statements = wire::load<wire::Header>(bytes.data()).op_count;
    std::uint8_t* at = bytes.data() + sizeof(wire::Header) + sizeof(head);
    for (std::size_t i = 0; i < statements; ++i, at += sizeof(Statement)) {
      auto statement = wire::load<Statement>(at);
      statement.age_ns += local_ns - made_local_ns;
      wire::store(at, statement);
    }
  }
  sign_datagram(key, datagram);
  return datagram;
}

Gossip::Gossip(const GossipOptions& options, const PeerList& peers)
    : options_(completed(options)),
      chance_(options.seed),
      membership_(options_.membership),
      statements_(options.statements_max, options.forget_ns) {
  DRIFTLOCK_ASSERT(options.self != kNobody && options.fanout > 0 && options.exchanges > 0);
  questions_.reserve(kQuestionsMax);
  set_peers(peers);
}

void Gossip::set_peers(const PeerList& peers) {
  std::vector<Peer> others;
  for (const Peer& peer : peers.all()) {
    if (peer.id != options_.self) others.push_back(peer);
  }
  peers_ = PeerList(std::move(others));
  walk_at_ = peers_.size();
  const auto gone = [&](NodeId id) { return peers_.find(id) == nullptr; };
  std::erase_if(links_, [&](const LinkEntry& entry) { return gone(entry.id); });
  std::erase_if(questions_, [&](const Question& question) { return gone(question.peer.id); });
  std::erase_if(alerts_, [&](const HeardAlert& alert) { return gone(alert.from); });
  std::vector<NodeId> strangers;
  for (const HeldStatement& held : statements_.all()) {
    if (gone(held.said.origin)) strangers.push_back(held.said.origin);
  }
  for (const NodeId id : strangers) statements_.forget(id);
}

const ClockLink* Gossip::link(NodeId id) const {
  const LinkEntry* entry = find_entry(id);
  return entry != nullptr && entry->link.known() ? &entry->link : nullptr;
}

Nanoseconds Gossip::due_local_ns() const {
  Nanoseconds due = next_round_ns_;
  for (const Question& question : questions_) {
    due = std::min(due, question.sent_ns + options_.ack_timeout_ns * (question.indirect ? 3 : 1));
  }
  return due;
}

void Gossip::step(const LocalNow& now, const Send& send) {
  give_up(now, send);
  if (now.local_ns < next_round_ns_) return;
  // Rounds that were missed (a stopped machine) are not made up for. A tenth of jitter keeps nodes
  // that were started together from asking together for ever.
  const auto jitter = static_cast<Nanoseconds>((chance_.unit() - 0.5) * 0.2 *
                                               static_cast<double>(options_.interval_ns));
  const Nanoseconds base = next_round_ns_ == kLongAgo ? now.local_ns : next_round_ns_;
  next_round_ns_ = std::max(base + options_.interval_ns, now.local_ns) + jitter;
  membership_.step(now.local_ns);
  statements_.forget_old(now.local_ns);
  begin_round(now, send);
}

// start + i * stride, with a stride that shares no factor with the size, meets each peer once.
const Peer& Gossip::next_peer() {
  const std::uint64_t size = peers_.size();
  if (walk_at_ >= size) {
    walk_at_ = 0;
    walk_start_ = chance_.below(size);
    do {
      walk_stride_ = 1 + chance_.below(size);
    } while (std::gcd(walk_stride_, size) != 1);
  }
  return peers_.at((walk_start_ + walk_at_++ * walk_stride_) % size);
}

void Gossip::begin_round(const LocalNow& now, const Send& send) {
  ++counters_.rounds;
  const std::size_t count = std::min(options_.fanout, peers_.size());
  for (std::size_t i = 0; i < count && questions_.size() < kQuestionsMax; ++i) {
    Question question;
    question.nonce = chance_.next();
    question.peer = next_peer();
    question.sent_ns = now.local_ns;
    question.exchanges_left = options_.exchanges - 1;
    questions_.push_back(question);
    ping(question, gossip::kStatementsMax, now, send);
  }
}

void Gossip::give_up(const LocalNow& now, const Send& send) {
  for (std::size_t i = 0; i < questions_.size();) {
    Question& question = questions_[i];
    const Nanoseconds waited = now.local_ns - question.sent_ns;
    if (waited < options_.ack_timeout_ns) {
      ++i;
      continue;
    }
    const bool first =
        question.for_peer == kNobody && question.exchanges_left + 1 == options_.exchanges;
    if (first && !question.indirect) {
      question.indirect = true;
      probe(question, now, send);
      ++i;
      continue;
    }
    if (first && waited < 3 * options_.ack_timeout_ns) {
      ++i;
      continue;
    }
    if (first) {
      ++counters_.timeouts;
      const LinkEntry* entry = find_entry(question.peer.id);
      membership_.suspect(question.peer.id, entry != nullptr ? entry->epoch : 0, now.local_ns);
    }
    questions_.erase(questions_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Gossip::probe(Question& question, const LocalNow& now, const Send& send) {
  const std::size_t count = std::min(options_.indirect, peers_.size());
  for (std::size_t i = 0; i < count; ++i) {
    const Peer& helper = peers_.at(chance_.below(peers_.size()));
    if (helper.id == question.peer.id) continue;
    Message message = begin_message(Type::kProbe, question.peer.id, question.nonce, now);
    post(message, helper, now, send);
  }
}

void Gossip::ping(const Question& question, std::uint8_t statements, const LocalNow& now,
                  const Send& send) {
  Message message = begin_message(Type::kPing, question.peer.id, question.nonce, now);
  message.head.statements_wanted = statements;
  if (statements > kOwnOnly) {
    statements_.oldest(message.wants);
    membership_.tell(question.peer.id, message.members);
  }
  post(message, question.peer, now, send);
}

Message Gossip::begin_message(Type type, NodeId to, std::uint64_t nonce, const LocalNow& now) {
  Message message;
  message.header.session_id = options_.self;
  message.header.nonce = nonce;
  message.header.epoch = options_.epoch;
  message.header.clock_state = static_cast<std::uint8_t>(now.clock.state);
  if (now.clock.state != ClockState::kLost) {
    message.header.time_ns = now.clock.tai.middle();
    message.header.error_ns = held_back(now.clock.tai.half_width());
  }
  message.head.type = type;
  message.head.target = to;
  message.head.round = ++round_;
  return message;
}

Statement Gossip::own_statement(const LocalNow& now) {
  Statement said;
  said.origin = options_.self;
  said.epoch = options_.epoch;
  said.sequence = ++sequence_;
  said.clock_state = static_cast<std::uint8_t>(now.clock.state);
  said.stage = now.stage;
  said.grandmaster = now.grandmaster;
  said.rate_ppb = static_cast<std::int32_t>(std::clamp(now.rate_ppb, -2e9, 2e9));
  const double rate_error = std::max(now.rate.most - 1.0 - now.rate_ppb * 1e-9,
                                     1.0 + now.rate_ppb * 1e-9 - now.rate.least);
  said.rate_error_ppb = static_cast<std::uint32_t>(std::clamp(rate_error * 1e9, 0.0, 4e9));
  if (now.clock.state == ClockState::kLost) return said;
  said.estimate_ns = now.clock.estimate_ns;
  said.early_ns = held_back(now.clock.estimate_ns - now.clock.tai.earliest);
  said.late_ns = held_back(now.clock.tai.latest - now.clock.estimate_ns);
  said.sigma_ns = held_back(now.clock.sigma_ns);
  return said;
}

void Gossip::put_links(Message& message, const LocalNow& now) {
  for (std::size_t tries = 0; tries < 2 * gossip::kLinksMax && !links_.empty(); ++tries) {
    const LinkEntry& entry = links_[chance_.below(links_.size())];
    if (!entry.link.known() || message.links.full()) continue;
    const bool told = std::any_of(message.links.begin(), message.links.end(),
                                  [&](const gossip::Link& link) { return link.to == entry.id; });
    if (told) continue;
    const Interval at = entry.link.at(now.local_ns);
    message.links.add({.to = entry.id,
                       .offset_ns = at.middle() - now.local_ns,
                       .error_ns = held_back(at.half_width() + 1),
                       .to_epoch = entry.epoch});
  }
}

void Gossip::post(const Message& message, const Peer& to, const LocalNow& now, const Send& send) {
  Outgoing out;
  out.to = to;
  out.length = gossip::encode(message, out.bytes);
  out.made_local_ns = now.local_ns;
  ++counters_.sent;
  counters_.sent_bytes += out.length;
  send(out);
}

void Gossip::alert(const gossip::AlertBody& body, const LocalNow& now, const Send& send) {
  gossip::Alert alert;
  alert.header.session_id = options_.self;
  alert.header.epoch = options_.epoch;
  alert.header.nonce = chance_.next();
  alert.header.clock_state = static_cast<std::uint8_t>(now.clock.state);
  alert.body = body;
  alert.body.sequence = ++alert_sequence_;
  const auto tell = [&](const Peer& peer) {
    Outgoing out;
    out.to = peer;
    out.length = gossip::encode(alert, out.bytes);
    out.made_local_ns = now.local_ns;
    ++counters_.alerts_sent;
    counters_.sent_bytes += out.length;
    send(out);
  };
  const Peer* subject = peers_.find(body.subject);
  if (subject != nullptr) tell(*subject);
  const std::size_t count = std::min(kAlertPeersMax, peers_.size());
  for (std::size_t i = 0; i < count; ++i) {
    const Peer& peer = next_peer();
    if (&peer != subject) tell(peer);
  }
}

void Gossip::sources(const LocalNow& now, std::vector<FusionSource>& out) const {
  out.clear();
  FusionSource self;
  self.id = options_.self;
  self.direct = true;
  if (now.clock.state != ClockState::kLost) {
    self.hard = now.clock.tai;
    self.estimate_ns = now.clock.estimate_ns;
    self.sigma_ns = static_cast<double>(now.clock.sigma_ns);
  }
  out.push_back(self);
  for (const HeldStatement& held : statements_.all()) {
    if (membership_.state(held.said.origin) == gossip::MemberState::kDead) continue;
    FusionSource source;
    source.id = held.said.origin;
    source.hard = held.tai_at(now.local_ns, now.rate);
    source.direct = held.direct;
    const bool bounded = source.hard.latest != kNever;
    if (bounded) {
      source.estimate_ns = std::clamp(held.estimate_at(now.local_ns, now.rate_ppb),
                                      source.hard.earliest, source.hard.latest);
      source.sigma_ns = held.sigma_at(now.local_ns);
    }
    out.push_back(source);
  }
}

}  // namespace driftlock
