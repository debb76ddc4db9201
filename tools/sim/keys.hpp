// The locks of a run: their names, and what each of them is.
#pragma once

#include <cstdint>
#include <string>

namespace driftlock::sim {

struct KeyPlan {
  std::uint16_t permits = 0;  // of a semaphore; 0: a reader-writer lock
  bool fence = false;         // in the namespace that may be taken over
};

inline constexpr std::uint16_t kWaitNamespace = 1;
inline constexpr std::uint16_t kFenceNamespace = 2;

inline std::string key_name(std::uint32_t key) {
  std::string name = "k" + std::to_string(key);
  if (key % 3 == 2) name.resize(50, 'x');  // keys longer than 24 bytes are kept elsewhere
  return name;
}

inline std::uint32_t key_number(const std::string& name) {
  return static_cast<std::uint32_t>(std::stoul(name.substr(1)));
}

}  // namespace driftlock::sim
