#include "src/predict/speculator.hpp"

#include <algorithm>
#include <cstdlib>

namespace driftlock {

void Speculator::turn(Engine& engine, const ClockReading& now) {
  LockEvent event;
  bool any = false;
  while (engine.next_event(event)) {
    learn(engine, event, now);
    any = true;
  }
  if (!any) return;
  const ContentionModel::Counts& counts = model_.counts();
  figures_.judged.set(counts.judged);
  figures_.right.set(counts.right);
  figures_.advised.set(counts.advised);
  figures_.held_back_hit.set(counts.low_hit);
  figures_.held_back_gain.set(counts.no_gain);
  figures_.held_back_tail.set(counts.tail);
  figures_.round_trip_us.set(static_cast<std::uint64_t>(model_.round_trip_ns() / kMicrosecond));
}

void Speculator::learn(Engine& engine, const LockEvent& event, const ClockReading& now) {
  const Nanoseconds round_trip_ns = model_.round_trip_ns();
  switch (event.kind) {
    case LockEvent::Kind::kAsked:
      return model_.asked(event.key_hash, event.session, event.at_ns);
    case LockEvent::Kind::kGranted:
      return granted(event);
    case LockEvent::Kind::kUsed:
      // As if it had asked: its request would have come in a round trip after.
      model_.used(event.key_hash, event.session, event.span_ns + round_trip_ns, event.at_ns);
      return model_.granted(0, 0);
    case LockEvent::Kind::kCrossed:
      model_.used(event.key_hash, event.session, event.span_ns, event.at_ns);
      return model_.granted(0, 0);
    case LockEvent::Kind::kReturned:
      if (event.recall_ns > 0 && event.recall_ns < kRoundTripMax) {
        model_.learn_round_trip(event.recall_ns);
      }
      return model_.wasted();
    case LockEvent::Kind::kReleased:
      return model_.released(
          event.key_hash, event.after_used ? std::max<Nanoseconds>(event.span_ns - round_trip_ns, 0)
                                           : event.span_ns);
    case LockEvent::Kind::kFreed:
      return freed(engine, event, now);
  }
}

void Speculator::granted(const LockEvent& event) {
  // Behind a grant in advance that was used it waited a round trip less than it would have.
  const Nanoseconds without_ns =
      event.span_ns - event.recall_ns + (event.after_used ? model_.round_trip_ns() : 0);
  model_.granted(without_ns, event.recall_ns);
  if (event.span_ns == 0) return;
  Forecast& forecast = place_of(event.key_hash, event.session);
  if (forecast.key_hash != event.key_hash || forecast.session != event.session) return;
  if (forecast.ahead == 0) model_.waited(event.key_hash, forecast.elapsed_ns, event.span_ns);
  if (forecast.forecast_ns > 0) {
    figures_.forecasts.add();
    figures_.forecast_sum_us.add(static_cast<std::uint64_t>(forecast.forecast_ns / kMicrosecond));
    figures_.forecast_error_us.add(
        static_cast<std::uint64_t>(std::abs(forecast.forecast_ns - event.span_ns) / kMicrosecond));
    figures_.waited_sum_us.add(static_cast<std::uint64_t>(event.span_ns / kMicrosecond));
  }
  forecast = Forecast{};
}

void Speculator::freed(Engine& engine, const LockEvent& event, const ClockReading& now) {
  const ContentionModel::Advance advance = model_.freed(
      event.key_hash, event.at_ns, engine.namespaces().advance_hit_min(event.namespace_id));
  if (advance.client == ContentionModel::kNobody || !acting()) return;
  const LockName name{event.namespace_id, {event.key.data(), event.key_length}};
  if (engine.grant_in_advance(event.key_hash, name, advance.client, advance.term_ns, now)) {
    figures_.made.add();
  }
}

std::uint32_t Speculator::forecast_us(const Engine& engine, std::uint64_t key_hash,
                                      std::uint32_t session, std::uint8_t slot, std::uint32_t ahead,
                                      const ClockReading& now) {
  const Nanoseconds elapsed_ns = engine.held_before(session, slot, now);
  const Nanoseconds forecast_ns = model_.forecast_wait(key_hash, ahead, elapsed_ns);
  Forecast& place = place_of(key_hash, session);
  if (place.key_hash != key_hash || place.session != session) {  // else a repeat, or waiting twice
    place = {key_hash, session, ahead, elapsed_ns, forecast_ns};
  }
  return static_cast<std::uint32_t>(
      std::clamp<Nanoseconds>(forecast_ns / kMicrosecond, 0, 0xFFFFFFFF));
}

}  // namespace driftlock
