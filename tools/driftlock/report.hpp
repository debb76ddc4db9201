// How `driftlock` speaks: lines for people, or one JSON object per line with --json. Results go to
// the standard output, everything else to the standard error.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "src/base/time.hpp"

namespace driftlock::cli {

class Report {
 public:
  explicit Report(bool json) : json_(json) {}
  [[nodiscard]] bool json() const { return json_; }

  // A result: `object` with --json, `text` without.
  void result(const nlohmann::json& object, const std::string& text) const;
  // Something to know while it goes on: standard error, not with --json.
  void note(const std::string& text) const;
  // Returns `code`, to be returned by the caller in turn.
  int fail(int code, const std::string& reason, const std::string& message) const;

 private:
  bool json_;
};

// "2026-11-24 04:00:03.123456789 TAI"
[[nodiscard]] std::string format_tai(Nanoseconds tai_ns);
// "1.234 ms"
[[nodiscard]] std::string format_duration(Nanoseconds duration_ns);

}  // namespace driftlock::cli
