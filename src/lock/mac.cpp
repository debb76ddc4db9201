#include "src/lock/mac.hpp"

#include <highwayhash/highwayhash_target.h>
#include <highwayhash/instruction_sets.h>
#include <sodium.h>

#include <cstring>
#include <string_view>

#include "src/lock/mac_batch.hpp"
#include "src/lock/mac_lanes_avx2.hpp"
#include "src/lock/mac_lanes_avx512.hpp"

namespace driftlock {

namespace {

// The library's own choice of instructions, with a look at the processor at every call.
Mac compute_mac_dispatched(const SecretKey& key, std::span<const std::uint8_t> message) {
  const highwayhash::HHKey& hh_key = *reinterpret_cast<const highwayhash::HHKey*>(key.words.data());
  highwayhash::HHResult128 result;
  highwayhash::InstructionSets::Run<highwayhash::HighwayHash>(
      hh_key, reinterpret_cast<const char*>(message.data()), message.size(), &result);
  Mac mac;
  std::memcpy(mac.data(), &result, sizeof(mac));
  return mac;
}

#if defined(__x86_64__)
const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
const bool has_avx512 =
    __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
    __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
#endif

}  // namespace

Mac compute_mac(const SecretKey& key, std::span<const std::uint8_t> message) {
#if defined(__x86_64__)
  if (has_avx2) {
    Mac mac;
    compute_mac_avx2(key, message.data(), message.size(), mac);
    return mac;
  }
#endif
  return compute_mac_dispatched(key, message);
}

void compute_macs(const std::array<MacJob, kMacLanes>& jobs, std::size_t lanes, std::size_t length,
                  std::array<Mac, kMacLanes>& macs) {
#if defined(__x86_64__)
  if (has_avx512 && lanes == kMacLanes && length % 32 == kMacRestBytes) {
    compute_macs_avx512(jobs, length, macs);
    return;
  }
  if (has_avx2) {
    for (std::size_t i = 0; i < lanes; i += kMacLanesHalf) {
      compute_macs_avx2(&jobs[i], length, &macs[i]);
    }
    return;
  }
#endif
  for (std::size_t i = 0; i < lanes; ++i) {
    macs[i] = compute_mac_dispatched(*jobs[i].key, {jobs[i].message, length});
  }
}

bool equal_mac(const Mac& a, const Mac& b) {
  std::array<std::uint64_t, 2> left;
  std::array<std::uint64_t, 2> right;
  std::memcpy(left.data(), a.data(), sizeof(left));
  std::memcpy(right.data(), b.data(), sizeof(right));
  return ((left[0] ^ right[0]) | (left[1] ^ right[1])) == 0;
}

void sign_datagram(const SecretKey& key, std::span<std::uint8_t> datagram) {
  const std::size_t signed_bytes = datagram.size() - wire::kMacBytes;
  const Mac mac = compute_mac(key, datagram.first(signed_bytes));
  std::memcpy(datagram.data() + signed_bytes, mac.data(), mac.size());
}

bool verify_datagram(const SecretKey& key, std::span<const std::uint8_t> datagram) {
  const std::size_t signed_bytes = datagram.size() - wire::kMacBytes;
  return equal_mac(compute_mac(key, datagram.first(signed_bytes)),
                   wire::load<Mac>(datagram.data() + signed_bytes));
}

SecretKey derive_session_key(const SecretKey& client_key, const wire::Bytes16& client_nonce,
                             const wire::Bytes16& node_nonce, std::uint64_t session_id) {
  constexpr std::string_view kLabel = "driftlock v1 session";
  std::array<std::uint8_t, kLabel.size() + 16 + 16 + 8> message;
  std::uint8_t* out = message.data();
  std::memcpy(out, kLabel.data(), kLabel.size());
  std::memcpy(out + kLabel.size(), client_nonce.data(), 16);
  std::memcpy(out + kLabel.size() + 16, node_nonce.data(), 16);
  std::memcpy(out + kLabel.size() + 32, &session_id, 8);
  SecretKey derived;
  crypto_generichash(reinterpret_cast<unsigned char*>(derived.words.data()), 32, message.data(),
                     message.size(),
                     reinterpret_cast<const unsigned char*>(client_key.words.data()), 32);
  return derived;
}

}  // namespace driftlock
