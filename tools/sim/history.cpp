#include "tools/sim/history.hpp"

#include <fstream>

namespace driftlock::sim {
namespace {

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

}  // namespace

std::uint64_t History::invoke(Nanoseconds at_ns, std::uint32_t client, const char* op,
                              const std::string& key, const char* mode, std::uint16_t permits,
                              std::uint16_t size, std::uint64_t token) {
  lines_.push_back(R"({"event":"invoke","id":)" + number(++last_) + R"(,"time_ns":)" +
                   std::to_string(at_ns) + R"(,"client":)" + number(client) + R"(,"op":")" + op +
                   R"(","key":")" + key + R"(","mode":")" + mode + R"(","permits":)" +
                   number(permits) + R"(,"permits_max":)" + number(size) + R"(,"token":)" +
                   number(token) + "}");
  return last_;
}

void History::complete(Nanoseconds at_ns, std::uint64_t id, const std::string& result,
                       std::uint64_t token) {
  lines_.push_back(R"({"event":"complete","id":)" + number(id) + R"(,"time_ns":)" +
                   std::to_string(at_ns) + R"(,"result":")" + result + R"(","token":)" +
                   number(token) + "}");
}

void History::lost(Nanoseconds at_ns, std::uint32_t client, const std::string& key,
                   std::uint64_t token) {
  lines_.push_back(R"({"event":"lost","time_ns":)" + std::to_string(at_ns) + R"(,"client":)" +
                   number(client) + R"(,"key":")" + key + R"(","token":)" + number(token) + "}");
}

bool History::write(const std::string& file) const {
  std::ofstream out(file);
  for (const std::string& line : lines_) out << line << '\n';
  return out.good();
}

}  // namespace driftlock::sim
