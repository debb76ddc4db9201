#include "src/lock/wire.hpp"

namespace driftlock::wire {

const char* to_string(Op op) {
  switch (op) {
    case Op::kNone:
      return "none";
    case Op::kOpen:
      return "open";
    case Op::kRenew:
      return "renew";
    case Op::kAcquire:
      return "acquire";
    case Op::kRelease:
      return "release";
    case Op::kQuery:
      return "query";
    case Op::kTime:
      return "time";
    case Op::kClose:
      return "close";
    case Op::kCancel:
      return "cancel";
    case Op::kConvert:
      return "convert";
    case Op::kAcquireGroup:
      return "acquire_group";
    case Op::kReclaim:
      return "reclaim";
    case Op::kMore:
      return "more";
    case Op::kAskRenewal:
      return "ask renewal";
    case Op::kAdvance:
      return "advance";
    case Op::kRecall:
      return "recall";
    case Op::kProbeReport:
      return "probe_report";
  }
  return "unknown";
}

const char* to_string(Status status) {
  switch (status) {
    case Status::kOk:
      return "ok";
    case Status::kQueued:
      return "queued";
    case Status::kBusy:
      return "busy";
    case Status::kTimeout:
      return "timeout";
    case Status::kNotHeld:
      return "not_held";
    case Status::kStaleToken:
      return "stale_token";
    case Status::kNoSession:
      return "no_session";
    case Status::kFull:
      return "full";
    case Status::kBadRequest:
      return "bad_request";
    case Status::kBadVersion:
      return "bad_version";
    case Status::kCookie:
      return "cookie";
    case Status::kClockLost:
      return "clock_lost";
    case Status::kStaleSequence:
      return "stale_sequence";
    case Status::kMisordered:
      return "misordered";
    case Status::kFalseRepeat:
      return "false_repeat";
    case Status::kCancelled:
      return "cancelled";
    case Status::kSessionEnded:
      return "session_ended";
    case Status::kDenied:
      return "denied";
    case Status::kModeConflict:
      return "mode_conflict";
    case Status::kNotReady:
      return "not_ready";
    case Status::kRevoked:
      return "revoked";
    case Status::kDeadlock:
      return "deadlock";
    case Status::kQuota:
      return "quota";
  }
  return "unknown";
}

const char* to_string(Mode mode) {
  switch (mode) {
    case Mode::kExclusive:
      return "exclusive";
    case Mode::kShared:
      return "shared";
    case Mode::kSemaphore:
      return "semaphore";
  }
  return "unknown";
}

const char* to_string(Reject reject) {
  switch (reject) {
    case Reject::kNone:
      return "none";
    case Reject::kTruncated:
      return "truncated";
    case Reject::kOversized:
      return "oversized";
    case Reject::kBadMagic:
      return "bad_magic";
    case Reject::kBadVersion:
      return "bad_version";
    case Reject::kBadKind:
      return "bad_kind";
    case Reject::kBadCount:
      return "bad_count";
    case Reject::kUnknownClient:
      return "unknown_client";
    case Reject::kUnknownSession:
      return "unknown_session";
    case Reject::kBadMac:
      return "bad_mac";
  }
  return "unknown";
}

Reject check_request(std::span<const std::uint8_t> datagram) {
  if (datagram.size() < sizeof(Header)) return Reject::kTruncated;
  const auto header = load<Header>(datagram.data());
  if (header.magic != kMagic) return Reject::kBadMagic;
  // The version comes before the sizes: another version may have others, and wants an answer.
  if (header.version != kVersion) return Reject::kBadVersion;
  if (datagram.size() < header.length || datagram.size() < kDatagramBytesMin) {
    return Reject::kTruncated;
  }
  if (datagram.size() > header.length || datagram.size() > kDatagramBytesMax) {
    return Reject::kOversized;
  }
  if (header.kind != Kind::kRequest) return Reject::kBadKind;
  if (header.op_count == 0 || header.op_count > kOpsMax ||
      datagram_bytes(header.op_count) != header.length) {
    return Reject::kBadCount;
  }
  return Reject::kNone;
}

}  // namespace driftlock::wire
