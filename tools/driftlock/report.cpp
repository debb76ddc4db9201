#include "tools/driftlock/report.hpp"

#include <array>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

namespace driftlock::cli {

void Report::result(const nlohmann::json& object, const std::string& text) const {
  std::printf("%s\n", json_ ? object.dump().c_str() : text.c_str());
  std::fflush(stdout);  // whoever waits at the other end of a pipe waits for this line
}

void Report::note(const std::string& text) const {
  if (!json_) std::fprintf(stderr, "driftlock: %s\n", text.c_str());
}

int Report::fail(int code, const std::string& reason, const std::string& message) const {
  if (json_) {
    const nlohmann::json object{{"error", reason}, {"message", message}, {"exit", code}};
    std::printf("%s\n", object.dump().c_str());
    std::fflush(stdout);
  } else {
    std::fprintf(stderr, "driftlock: %s\n", message.c_str());
  }
  return code;
}

std::string format_tai(Nanoseconds tai_ns) {
  const std::time_t seconds = tai_ns / kSecond;
  std::tm fields{};
  gmtime_r(&seconds, &fields);
  std::array<char, 64> date{};
  std::strftime(date.data(), date.size(), "%Y-%m-%d %H:%M:%S", &fields);
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "%s.%09lld TAI", date.data(),
                static_cast<long long>(tai_ns % kSecond));
  return text.data();
}

std::string format_duration(Nanoseconds duration_ns) {
  const double ns = static_cast<double>(duration_ns);
  const double size = ns < 0 ? -ns : ns;
  std::array<char, 40> text{};
  if (size < 1e3) {
    std::snprintf(text.data(), text.size(), "%.0f ns", ns);
  } else if (size < 1e6) {
    std::snprintf(text.data(), text.size(), "%.1f us", ns / 1e3);
  } else if (size < 1e9) {
    std::snprintf(text.data(), text.size(), "%.3f ms", ns / 1e6);
  } else {
    std::snprintf(text.data(), text.size(), "%.3f s", ns / 1e9);
  }
  return text.data();
}

}  // namespace driftlock::cli
