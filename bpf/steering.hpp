// Where the probe finds, within this process, what DPDK's AF_XDP driver has loaded from the stub:
// the driver keeps the descriptors and tells nobody. Looking at one's own descriptors needs no
// privilege, as finding programs by number would.
#pragma once

namespace driftlock::steering {

// Descriptors of the driver's; not to be closed. -1 where there is none.
[[nodiscard]] int find_sockets_map();
[[nodiscard]] int find_stub_program();

}  // namespace driftlock::steering
