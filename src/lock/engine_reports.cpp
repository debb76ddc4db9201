// What the probes of client hosts tell of sessions: checked here, and handed to the observer.
#include <algorithm>

#include "src/lock/engine.hpp"

namespace driftlock {

// A report moves the score of the session that it is about, so that not everybody may make one:
// only who has that session's own key, or its address, which the cookie has proven.
wire::Status Engine::accept_report(std::uint32_t session_index, const wire::ProbeReport& report,
                                   const RequestContext& context) {
  const bool in_range = report.clock == wire::kReportClockMonotonic && report.span_ns > 0 &&
                        report.p50_ns <= report.p99_ns &&
                        report.p99_ns <= static_cast<std::uint64_t>(kNever);
  if (!in_range) return wire::Status::kBadRequest;
  const std::uint32_t about = sessions_.find(report.session_id);
  if (about == kNil || sessions_.at(about).state != SessionState::kActive) {
    return wire::Status::kDenied;
  }
  const Session& subject = sessions_.at(about);
  const Session& reporter = sessions_.at(session_index);
  if (subject.client_id != reporter.client_id && subject.peer.ipv4 != context.peer.ipv4) {
    return wire::Status::kDenied;
  }
  path_report_ = PathReport{.session_index = about,
                            .session_id = report.session_id,
                            .requests = report.requests,
                            .replies = std::min(report.replies, report.requests),
                            .p50_ns = static_cast<Nanoseconds>(report.p50_ns),
                            .p99_ns = static_cast<Nanoseconds>(report.p99_ns)};
  return wire::Status::kOk;
}

}  // namespace driftlock
