#include "src/node/status_page.hpp"

#include <array>

#include "src/node/admin.hpp"

namespace driftlock {
namespace {

constexpr auto kStateAge = std::chrono::seconds(1);

struct Section {
  const char* name;
  const char* question;  // to the admin socket's answerer
};
constexpr std::array kSections{
    Section{"status", R"({"command": "status"})"},
    Section{"clock", R"({"command": "clock"})"},
    Section{"locks", R"({"command": "holders", "limit": 50})"},
    Section{"waiting", R"({"command": "holders", "waiting": true, "limit": 50})"},
    // What a node has not got is answered with an error, and the page leaves it out.
    Section{"clocks", R"({"command": "clocks"})"},
    Section{"cluster", R"({"command": "cluster"})"},
    Section{"predict", R"({"command": "predict"})"},
};

void append(std::string& out, const char* name, const std::string& json) {
  out.append(",\"").append(name).append("\":").append(json);
}

}  // namespace

std::string StatusPage::state_json() {
  const std::scoped_lock lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (state_.empty() || now - made_at_ >= kStateAge) {
    state_ = make_state();
    made_at_ = now;
  }
  return state_;
}

std::string StatusPage::make_state() const {
  std::string out = "{\"unix_ms\":" + std::to_string(unix_now_ns() / kMillisecond);
  for (const Section& section : kSections) {
    std::string answer = answer_admin(section.question, view_, "/metrics");
    answer.pop_back();  // its newline
    append(out, section.name, answer);
  }
  return out + "}\n";
}

std::string StatusPage::history_json(std::int64_t since_unix_ms) const {
  std::string out =
      R"({"fields":["unix_ms","state","earliest_ns","latest_ns","sigma_ns","grants","releases",)"
      R"("refusals","rejected","sessions","locks","waiters"],"samples":[)";
  bool first = true;
  for (const History::Sample& sample : history_.samples()) {
    const Nanoseconds unix_ms = sample.unix_ns / kMillisecond;
    if (unix_ms <= since_unix_ms) continue;
    if (!first) out += ',';
    first = false;
    out.append("[").append(std::to_string(unix_ms));
    out.append(",\"").append(to_string(sample.state)).append("\"");
    for (const Nanoseconds value : {sample.earliest_ns, sample.latest_ns, sample.sigma_ns}) {
      out.append(",").append(std::to_string(value));
    }
    for (const std::uint64_t value :
         {sample.grants, sample.releases, sample.refusals, sample.rejected, sample.sessions,
          sample.locks, sample.waiters}) {
      out.append(",").append(std::to_string(value));
    }
    out += ']';
  }
  return out + "]}\n";
}

}  // namespace driftlock
