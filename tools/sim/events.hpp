// Events: the world's agenda and its true time, which nobody in it may read. Events of one instant
// happen in the order in which they were planned. Also where the first broken promise is noted, and
// the trace. One thread.
#pragma once

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tools/sim/options.hpp"

namespace driftlock::sim {

// TAI at the beginning of every run.
inline constexpr Nanoseconds kStartTai = 1'700'000'000 * kSecond;

class Events {
 public:
  explicit Events(bool trace) : trace_(trace) {}

  [[nodiscard]] Nanoseconds now_ns() const { return now_ns_; }
  [[nodiscard]] Nanoseconds true_tai() const { return kStartTai + now_ns_; }

  void at(Nanoseconds when_ns, std::function<void()> action) {
    agenda_.push_back({std::max(when_ns, now_ns_), order_++, std::move(action)});
    std::push_heap(agenda_.begin(), agenda_.end(), later);
  }
  void after(Nanoseconds delay_ns, std::function<void()> action) {
    at(now_ns_ + delay_ns, std::move(action));
  }

  // Until then, or until `done`, or a promise is broken.
  template <typename Done>
  bool run_until(Nanoseconds end_ns, Done&& done) {
    while (!broken() && !agenda_.empty() && agenda_.front().when_ns <= end_ns) {
      std::pop_heap(agenda_.begin(), agenda_.end(), later);
      const Entry entry = std::move(agenda_.back());
      agenda_.pop_back();
      now_ns_ = entry.when_ns;
      entry.action();
      if (done()) return true;
    }
    if (!broken()) now_ns_ = std::max(now_ns_, end_ns);
    return false;
  }
  void run_until(Nanoseconds end_ns) {
    run_until(end_ns, [] { return false; });
  }

  void violate(const char* check, std::string message) {
    trace("VIOLATION " + std::string(check) + ": " + message);
    if (broken()) return;
    check_ = check;
    message_ = std::move(message);
  }
  [[nodiscard]] bool broken() const { return !check_.empty(); }
  [[nodiscard]] const std::string& check() const { return check_; }
  [[nodiscard]] const std::string& message() const { return message_; }

  [[nodiscard]] bool tracing() const { return trace_; }
  void trace(const std::string& line) const {
    if (!trace_) return;
    std::printf("%12.6f  %s\n", static_cast<double>(now_ns_) / 1e9, line.c_str());
  }

 private:
  struct Entry {
    Nanoseconds when_ns;
    std::uint64_t order;
    std::function<void()> action;
  };
  static bool later(const Entry& a, const Entry& b) {
    return a.when_ns != b.when_ns ? a.when_ns > b.when_ns : a.order > b.order;
  }

  bool trace_;
  Nanoseconds now_ns_ = 0;
  std::uint64_t order_ = 0;
  std::vector<Entry> agenda_;
  std::string check_;
  std::string message_;
};

}  // namespace driftlock::sim
