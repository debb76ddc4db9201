// History: what the clients asked and were told, and when, as JSON lines for driftlock-history.
// docs/simulator.md says what the fields mean. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/time.hpp"

namespace driftlock::sim {

class History {
 public:
  // Each returns or takes the number of the operation.
  std::uint64_t invoke(Nanoseconds at_ns, std::uint32_t client, const char* op,
                       const std::string& key, const char* mode, std::uint16_t permits,
                       std::uint16_t size, std::uint64_t token);
  void complete(Nanoseconds at_ns, std::uint64_t number, const std::string& result,
                std::uint64_t token);
  // The holder was last told at `at_ns` that it holds the lock: from then on it may be freed.
  void lost(Nanoseconds at_ns, std::uint32_t client, const std::string& key, std::uint64_t token);
  [[nodiscard]] bool write(const std::string& file) const;

 private:
  std::vector<std::string> lines_;
  std::uint64_t last_ = 0;
};

}  // namespace driftlock::sim
