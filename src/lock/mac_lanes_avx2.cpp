#include "src/lock/mac_lanes_avx2.hpp"

#if defined(__x86_64__)

#include <highwayhash/hh_avx2.h>

#include <cstring>

namespace driftlock {
namespace {

using highwayhash::HHPacket;
using State = highwayhash::AVX2::HHStateAVX2;

const HHPacket& packet(const std::uint8_t* bytes) {
  return *reinterpret_cast<const HHPacket*>(bytes);  // char[32]: no alignment asked
}

void finish(State& state, const std::uint8_t* rest, std::size_t rest_bytes) {
  if (rest_bytes != 0) state.UpdateRemainder(reinterpret_cast<const char*>(rest), rest_bytes);
}

void store(State& state, Mac& mac) {
  highwayhash::HHResult128 result;
  state.Finalize(&result);
  std::memcpy(mac.data(), &result, sizeof(mac));
}

}  // namespace

void compute_mac_avx2(const SecretKey& key, const std::uint8_t* message, std::size_t length,
                      Mac& mac) {
  State state(key.words.data());
  const std::size_t whole = length & ~(sizeof(HHPacket) - 1);
  for (std::size_t i = 0; i < whole; i += sizeof(HHPacket)) state.Update(packet(message + i));
  finish(state, message + whole, length - whole);
  store(state, mac);
}

// Four named states rather than an array: the compiler keeps them in registers.
void compute_macs_avx2(const MacJob* jobs, std::size_t length, Mac* macs) {
  State a(jobs[0].key->words.data());
  State b(jobs[1].key->words.data());
  State c(jobs[2].key->words.data());
  State d(jobs[3].key->words.data());
  const std::size_t whole = length & ~(sizeof(HHPacket) - 1);
  for (std::size_t i = 0; i < whole; i += sizeof(HHPacket)) {
    a.Update(packet(jobs[0].message + i));
    b.Update(packet(jobs[1].message + i));
    c.Update(packet(jobs[2].message + i));
    d.Update(packet(jobs[3].message + i));
  }
  finish(a, jobs[0].message + whole, length - whole);
  finish(b, jobs[1].message + whole, length - whole);
  finish(c, jobs[2].message + whole, length - whole);
  finish(d, jobs[3].message + whole, length - whole);
  store(a, macs[0]);
  store(b, macs[1]);
  store(c, macs[2]);
  store(d, macs[3]);
}

}  // namespace driftlock

#endif
