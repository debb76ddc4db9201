// Fuzz target: wire::check_request over any bytes. What it lets through must be whole.
#include <cstddef>
#include <cstdint>

#include "src/base/assert.hpp"
#include "src/lock/wire.hpp"

using namespace driftlock;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const wire::Reject reject = wire::check_request({data, size});
  DRIFTLOCK_ASSERT(wire::to_string(reject)[0] != 'u' || reject == wire::Reject::kUnknownClient ||
                   reject == wire::Reject::kUnknownSession);
  if (reject != wire::Reject::kNone) return 0;
  const auto header = wire::load<wire::Header>(data);
  DRIFTLOCK_ASSERT(header.magic == wire::kMagic && header.version == wire::kVersion);
  DRIFTLOCK_ASSERT(header.kind == wire::Kind::kRequest && header.length == size);
  DRIFTLOCK_ASSERT(header.op_count >= 1 && header.op_count <= wire::kOpsMax);
  DRIFTLOCK_ASSERT(wire::datagram_bytes(header.op_count) == size);
  for (std::size_t i = 0; i < header.op_count; ++i) {
    const auto request = wire::load<wire::Request>(wire::record(data, i));
    DRIFTLOCK_ASSERT(request.key_bytes().size() <= wire::kKeyBytesMax);
  }
  return 0;
}
