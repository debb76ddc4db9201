// Oracle: what the holders believe, at one true instant. A holder believes from the moment at which
// its program is told of the grant until it asks for the release, or its own rule says stop. Two
// that exclude each other must never believe at once; and of two that do, the later has the higher
// token. One thread.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "src/client/lease_view.hpp"
#include "src/lock/wire.hpp"
#include "tools/sim/events.hpp"
#include "tools/sim/keys.hpp"

namespace driftlock::sim {

struct Hold {
  std::uint32_t client = 0;
  std::uint32_t key = 0;
  wire::Mode mode = wire::Mode::kExclusive;
  std::uint16_t permits = 1;
  std::uint64_t token = 0;
  bool over = false;  // released, or its program died
  // True time at which its program was last told that it holds the lock.
  mutable Nanoseconds believed_ns = kLongAgo;
  const Events* events = nullptr;
  std::shared_ptr<client::LockView> lock;
  std::function<Nanoseconds()> local_ns;

  // What the library answers when the program asks whether it still holds the lock.
  [[nodiscard]] bool believed() const {
    if (over || lock->state(local_ns()) == client::HolderState::kLost) return false;
    believed_ns = events->now_ns();
    return true;
  }
};

class Oracle {
 public:
  Oracle(Events& events, std::vector<KeyPlan> plan)
      : events_(events), plan_(std::move(plan)), keys_(plan_.size()) {}

  [[nodiscard]] const KeyPlan& plan_of(std::uint32_t key) const { return plan_[key]; }
  [[nodiscard]] std::uint32_t keys() const { return static_cast<std::uint32_t>(plan_.size()); }

  // The hold stays the oracle's until it is over.
  Hold& begin(const Hold& hold);
  // The hold goes on, in this mode and under this token.
  void converted(Hold& hold, wire::Mode mode, std::uint64_t token);
  // Whoever holds the key under this token or an older one has lost it to another, told or not:
  // what the lock guards knows them apart by their tokens.
  void taken_over(std::uint32_t key, std::uint64_t newest);
  // Looks at all that is believed of the key.
  void check(std::uint32_t key);
  // The same wherever this client holds something.
  void check_client(std::uint32_t client);

 private:
  struct Newest {
    std::uint64_t token = 0;
    std::uint32_t client = 0;
  };
  struct Key {
    std::list<Hold> holds;
    Newest newest_exclusive;
    Newest newest;
    std::uint64_t taken_over = 0;
  };
  void check_token(Key& key, const Hold& hold);
  void check_permits(std::uint32_t index, const std::vector<const Hold*>& believed);

  Events& events_;
  std::vector<KeyPlan> plan_;
  std::vector<Key> keys_;
};

}  // namespace driftlock::sim
