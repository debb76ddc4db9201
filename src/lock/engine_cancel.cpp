// The Engine's cancel, which finds what an acquire was granted under whatever token it has by now.
#include "src/lock/engine_internal.hpp"

namespace driftlock {
namespace {

using wire::Status;

}  // namespace

void Engine::cancel(std::uint32_t session_index, const Request& request, Slot& slot,
                    const RequestContext& context) {
  const Session& session = sessions_.at(session_index);
  const auto sequence = static_cast<std::uint32_t>(request.argument);
  if (request.other_slot >= session.slot_count || request.other_slot == request.slot) {
    slot.status = Status::kBadRequest;
    return;
  }
  Slot& other = sessions_.slot(session_index, request.other_slot);
  const bool waits =
      other.op == Op::kAcquire || other.op == Op::kAcquireGroup || other.op == Op::kConvert;
  if (sequence == other.sequence + 1 && other.state != SlotState::kWaiting) {
    // What is cancelled has not arrived, and may never: it will find its answer waiting.
    if (other.op == Op::kAcquireGroup && other.claim != kNil) free_group(other.claim);
    other = Slot{};
    other.sequence = sequence;
    other.op = Op::kAcquire;
    other.status = Status::kCancelled;
    other.state = SlotState::kCancelledAhead;
  } else if (sequence != other.sequence || !waits) {
    slot.status = Status::kStaleSequence;
  } else if (other.state == SlotState::kWaiting && other.op == Op::kAcquireGroup) {
    end_group(other.claim, Status::kCancelled, context.now, false);
  } else if (other.state == SlotState::kWaiting) {
    end_wait(other.claim, Status::kCancelled, context.now, false);
  } else if (other.state == SlotState::kAnswered && other.status == Status::kOk &&
             other.op != Op::kConvert) {
    // Granted before the cancel came: what was granted is given back.
    if (other.op == Op::kAcquireGroup) {
      const Group group = groups_[other.claim];
      for (std::size_t i = 0; i < group.count; ++i) {
        const std::uint64_t renamed = group.renamed[i];
        give_back_token(session_index, renamed != 0 ? renamed : group.grants[i].token, context.now);
      }
    } else {
      give_back_token(session_index, held_under(other), context.now);
    }
    other.status = Status::kCancelled;
    other.token = 0;
  }
}

// The hold goes on under a new token. Another acquire of the session may have been told the old
// one, and may be cancelled yet.
void Engine::rename(std::uint32_t claim) {
  Claim& holder = locks_.claim(claim);
  const std::uint64_t before = holder.token;
  if (static_cast<std::uint32_t>(next_token_) == kNil) ++next_token_;  // see held_under()
  holder.token = next_token_++;
  for (std::uint8_t i = 0; i < sessions_.at(holder.session).slot_count; ++i) {
    Slot& slot = sessions_.slot(holder.session, i);
    if (slot.state != SlotState::kAnswered || slot.status != Status::kOk) continue;
    if (slot.op == Op::kAcquire && held_under(slot) == before) {
      slot.claim = static_cast<std::uint32_t>(holder.token);
    } else if (slot.op == Op::kAcquireGroup && slot.claim != kNil) {
      Group& group = groups_[slot.claim];
      for (std::size_t member = 0; member < group.count; ++member) {
        std::uint64_t& renamed = group.renamed[member];
        const std::uint64_t now = renamed != 0 ? renamed : group.grants[member].token;
        if (now == before) renamed = holder.token;
      }
    }
  }
}

// The token under which the session now holds what the acquire in this slot was granted. An
// answered acquire keeps in its slot the low half of a newer one, as it has no other room; tokens
// rise.
std::uint64_t Engine::held_under(const Slot& slot) {
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 32;
  if (slot.claim == kNil) return slot.token;
  const std::uint64_t token = slot.token / kHalf * kHalf + slot.claim;
  return token < slot.token ? token + kHalf : token;
}

void Engine::give_back_token(std::uint32_t session_index, std::uint64_t token,
                             const ClockReading& now) {
  for (std::uint32_t i = locks_.last_of_session(sessions_.at(session_index).claims); i != kNil;
       i = locks_.next_of_session(i)) {
    Claim& holder = locks_.claim(i);
    if (holder.token != token) continue;
    if (holder.depth > 1) {
      --holder.depth;
    } else {
      give_back(i, now);
    }
    return;
  }
}

}  // namespace driftlock
