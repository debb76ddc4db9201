// Eight MACs side by side for processors with AVX-512, two in each register. Only mac.cpp calls
// this, after it has looked at the processor.
#pragma once

#include <array>
#include <cstddef>

#include "src/lock/mac_batch.hpp"

namespace driftlock {

// Every datagram that has a MAC leaves so many bytes past whole packets of 32: other lengths are
// not taken here.
inline constexpr std::size_t kMacRestBytes = 16;
static_assert((wire::datagram_bytes(1) - wire::kMacBytes) % 32 == kMacRestBytes &&
              wire::kRecordBytes % 32 == 0);

void compute_macs_avx512(const std::array<MacJob, kMacLanes>& jobs, std::size_t length,
                         std::array<Mac, kMacLanes>& macs);

}  // namespace driftlock
