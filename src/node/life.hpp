// Life: what a node must remember from one start to the next: its epoch, which rises at every start
// and stands in the high bits of every fencing token; the lease horizon, past which no lease has
// been promised; and its own secrets. Owned by the main thread, but for raise_horizon(). Invariant:
// an epoch or a horizon is on the disk before anything is promised under it, and no two processes
// live in one directory at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "src/base/result.hpp"
#include "src/base/time.hpp"
#include "src/lock/mac.hpp"

namespace driftlock {

class Life {
 public:
  // The same in every life of the node, so that a holder's ticket is good in the next one.
  struct Secrets {
    SecretKey ticket_key;
    std::uint64_t hash_seed = 0;
  };

  // Makes the directory and the secrets where they are not there, and records the new epoch.
  [[nodiscard]] static Result<std::unique_ptr<Life>> begin(const std::string& directory);
  ~Life();
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  [[nodiscard]] std::uint32_t epoch() const { return epoch_; }
  [[nodiscard]] const Secrets& secrets() const { return secrets_; }
  // Leases of the lives before run until then at the latest; kLongAgo: there are none.
  [[nodiscard]] Nanoseconds leases_before_end_tai_ns() const { return horizon_before_ns_; }

  // Returns when it is on the disk. caller: the horizon thread, or main when that has ended.
  [[nodiscard]] Status record_horizon(Nanoseconds horizon_tai_ns) const;

 private:
  Life(std::string directory, int lock);
  [[nodiscard]] Status read();
  [[nodiscard]] Status read_secrets();

  const std::string directory_;
  const int lock_;  // flock()ed for as long as this lives
  std::uint32_t epoch_ = 0;
  Secrets secrets_;
  Nanoseconds horizon_before_ns_ = kLongAgo;
};

}  // namespace driftlock
