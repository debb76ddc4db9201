// The AVX2 half of compute_macs(): its own translation unit, the only one built with -mavx2, so
// that no other code comes to need AVX2. Called only where the processor has it.
#pragma once

#include <array>
#include <cstddef>

#include "src/lock/mac_batch.hpp"

namespace driftlock {

#if defined(__x86_64__)
// Of kMacLanesHalf messages.
void compute_macs_avx2(const MacJob* jobs, std::size_t length, Mac* macs);
void compute_mac_avx2(const SecretKey& key, const std::uint8_t* message, std::size_t length,
                      Mac& mac);
#endif

}  // namespace driftlock
