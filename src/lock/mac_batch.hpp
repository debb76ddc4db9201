// MACs side by side. HighwayHash waits for its own multiplications most of the time; independent
// messages in one instruction stream fill those waits: four with AVX2, eight with AVX-512, which
// also takes two in one register. Same results as compute_mac(), which does the work where the
// processor has neither.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "src/lock/mac.hpp"

namespace driftlock {

inline constexpr std::size_t kMacLanes = 8;
inline constexpr std::size_t kMacLanesHalf = kMacLanes / 2;

struct MacJob {
  const SecretKey* key = nullptr;
  const std::uint8_t* message = nullptr;
};

// The MACs of kMacLanes or kMacLanesHalf messages of `length` bytes each.
void compute_macs(const std::array<MacJob, kMacLanes>& jobs, std::size_t lanes, std::size_t length,
                  std::array<Mac, kMacLanes>& macs);

// Gathers datagrams and calls done(index, mac) for each, kMacLanes at a time while their
// lengths are equal. Every add() must be followed by a flush() in the end. `Done` is
// void(std::size_t, const Mac&).
template <typename Done>
class MacBatch {
 public:
  explicit MacBatch(Done done) : done_(done) {}

  // The MAC of the datagram but its last bytes, which hold one. `key` must live until flush().
  void add(std::size_t index, const SecretKey& key, const std::uint8_t* datagram,
           std::size_t datagram_bytes) {
    const std::size_t length = datagram_bytes - wire::kMacBytes;
    if (count_ != 0 && length != length_) flush();
    length_ = length;
    jobs_[count_] = {&key, datagram};
    indices_[count_] = index;
    if (++count_ == kMacLanes) flush();
  }

  void flush() {
    if (count_ == 0) return;
    if (count_ == 1) {
      done_(indices_[0], compute_mac(*jobs_[0].key, {jobs_[0].message, length_}));
    } else {
      const std::size_t lanes = count_ <= kMacLanesHalf ? kMacLanesHalf : kMacLanes;
      for (std::size_t i = count_; i < lanes; ++i) jobs_[i] = jobs_[0];  // computed for nothing
      std::array<Mac, kMacLanes> macs;
      compute_macs(jobs_, lanes, length_, macs);
      for (std::size_t i = 0; i < count_; ++i) done_(indices_[i], macs[i]);
    }
    count_ = 0;
  }

 private:
  Done done_;
  std::array<MacJob, kMacLanes> jobs_{};
  std::array<std::size_t, kMacLanes> indices_{};
  std::size_t count_ = 0;
  std::size_t length_ = 0;
};

}  // namespace driftlock
