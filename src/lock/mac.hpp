// The datagram's authenticator: HighwayHash-128 under a 256-bit key (J. Alakuijala, B. Cox, J.
// Wassenberg, "Fast keyed hash/pseudo-random function using SIMD multiply and permute", 2016), and
// the derivation of a session's key by keyed BLAKE2b-256 (RFC 7693). Both are libraries';
// docs/decisions.md says why.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "src/lock/wire.hpp"

namespace driftlock {

// 256-bit secret, as the four little-endian words that HighwayHash takes.
struct alignas(32) SecretKey {
  std::array<std::uint64_t, 4> words{};
  friend bool operator==(const SecretKey&, const SecretKey&) = default;
};

using Mac = wire::Bytes16;

[[nodiscard]] Mac compute_mac(const SecretKey& key, std::span<const std::uint8_t> message);

// Takes the same time wherever the two differ.
[[nodiscard]] bool equal_mac(const Mac& a, const Mac& b);

// Over the whole datagram but its last 16 bytes, which hold the MAC.
void sign_datagram(const SecretKey& key, std::span<std::uint8_t> datagram);
[[nodiscard]] bool verify_datagram(const SecretKey& key, std::span<const std::uint8_t> datagram);

// BLAKE2b-256(key = client's, "driftlock v1 session" | client_nonce | node_nonce | session_id LE).
[[nodiscard]] SecretKey derive_session_key(const SecretKey& client_key,
                                           const wire::Bytes16& client_nonce,
                                           const wire::Bytes16& node_nonce,
                                           std::uint64_t session_id);

}  // namespace driftlock
