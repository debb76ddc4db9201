// HoldTimes: how long this client will hold a lock, guessed from how long it held it before: a high
// quantile of the last few holds per lock, so that it is rarely exceeded. Bounded; the lock unused
// longest is forgotten first. Owned by one thread.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>

#include "src/base/time.hpp"

namespace driftlock::client {

class HoldTimes {
 public:
  static constexpr std::size_t kHoldsKept = 16;
  static constexpr std::size_t kLocksMax = 1024;

  void record(const std::string& key, Nanoseconds held_ns);
  // 0 = not known.
  [[nodiscard]] Nanoseconds predict(const std::string& key) const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::array<Nanoseconds, kHoldsKept> held_ns{};
    std::uint32_t count = 0;  // ever recorded
    std::list<std::string>::iterator age;
  };

  std::unordered_map<std::string, Entry> entries_;
  std::list<std::string> by_age_;  // most recently used first
};

}  // namespace driftlock::client
