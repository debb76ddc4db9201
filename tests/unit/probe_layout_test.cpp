// The probe reads the protocol's header in C: its offsets are those of src/lock/wire.hpp.
#include <gtest/gtest.h>

#include <cstddef>

#include "bpf/lock_probe.h"
#include "src/lock/wire.hpp"

namespace driftlock {
namespace {

static_assert(PROBE_WIRE_MAGIC == wire::kMagic);
static_assert(PROBE_WIRE_VERSION == wire::kVersion);
static_assert(PROBE_WIRE_HEADER_BYTES == sizeof(wire::Header));
static_assert(PROBE_WIRE_VERSION_AT == offsetof(wire::Header, version));
static_assert(PROBE_WIRE_KIND_AT == offsetof(wire::Header, kind));
static_assert(PROBE_WIRE_LENGTH_AT == offsetof(wire::Header, length));
static_assert(PROBE_WIRE_SESSION_AT == offsetof(wire::Header, session_id));
static_assert(PROBE_WIRE_NONCE_AT == offsetof(wire::Header, nonce));
static_assert(PROBE_WIRE_OP_COUNT_AT == offsetof(wire::Header, op_count));
static_assert(offsetof(wire::Request, op) == 0);
static_assert(static_cast<int>(wire::Kind::kRequest) == PROBE_WIRE_KIND_REQUEST);
static_assert(static_cast<int>(wire::Kind::kReply) == PROBE_WIRE_KIND_REPLY);
static_assert(static_cast<int>(wire::Kind::kPush) == PROBE_WIRE_KIND_PUSH);
static_assert(static_cast<int>(wire::Kind::kError) == PROBE_WIRE_KIND_ERROR);
static_assert(static_cast<int>(wire::Op::kOpen) == PROBE_WIRE_OP_OPEN);

TEST(ProbeLayout, BucketsAreInOrderAndNarrow) {
  EXPECT_EQ(probe_bucket_of(0), 0U);
  EXPECT_EQ(probe_bucket_of(1U << PROBE_FIRST_POWER), 0U);
  EXPECT_EQ(probe_bucket_of(~std::uint64_t{0}), PROBE_BUCKETS - 1U);
  std::uint64_t bucket_start = 1U << PROBE_FIRST_POWER;
  for (std::uint64_t latency = bucket_start; latency < 10'000'000; latency += 1 + latency / 1000) {
    const std::uint64_t bucket = probe_bucket_of(latency);
    ASSERT_EQ(bucket, probe_bucket_of(bucket_start) + (bucket != probe_bucket_of(bucket_start)));
    if (bucket != probe_bucket_of(bucket_start)) bucket_start = latency;
    ASSERT_LE(static_cast<double>(latency), static_cast<double>(bucket_start) * 1.0625);
  }
}

TEST(ProbeLayout, LogarithmIsExact) {
  for (unsigned power = 0; power < 64; ++power) {
    EXPECT_EQ(probe_log2(std::uint64_t{1} << power), power);
    EXPECT_EQ(probe_log2((std::uint64_t{2} << power) - 1), power);
  }
}

}  // namespace
}  // namespace driftlock
