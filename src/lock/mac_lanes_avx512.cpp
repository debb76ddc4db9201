// HighwayHash-128 as docs/protocol.md writes it down, on two messages per 512-bit register and four
// registers abreast: its steps are those of the library's AVX2 form, which has no wider one.
#include "src/lock/mac_lanes_avx512.hpp"

#if defined(__x86_64__)

// gcc 12 takes the undefined upper parts of its own intrinsics for uninitialized variables.
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "src/base/assert.hpp"

namespace driftlock {
namespace {

constexpr std::size_t kPacketBytes = 32;
constexpr std::size_t kPairs = kMacLanes / 2;

__m512i both(__m256i words) {
  return _mm512_broadcast_i64x4(words);
}

__m512i two(const void* low, const void* high) {
  const __m512i lower =
      _mm512_castsi256_si512(_mm256_loadu_si256(static_cast<const __m256i*>(low)));
  return _mm512_inserti64x4(lower, _mm256_loadu_si256(static_cast<const __m256i*>(high)), 1);
}

struct Pair {
  __m512i v0;
  __m512i v1;
  __m512i mul0;
  __m512i mul1;

  void begin(const MacJob& low, const MacJob& high) {
    mul0 = both(_mm256_set_epi64x(0x243f6a8885a308d3LL, 0x13198a2e03707344LL,
                                  static_cast<long long>(0xa4093822299f31d0ULL),
                                  static_cast<long long>(0xdbe6d5d5fe4cce2fULL)));
    mul1 = both(
        _mm256_set_epi64x(0x452821e638d01377LL, static_cast<long long>(0xbe5466cf34e90c6cULL),
                          static_cast<long long>(0xc0acf169b5f18a8cULL), 0x3bd39e10cb0ef593LL));
    const __m512i key = two(low.key->words.data(), high.key->words.data());
    v0 = _mm512_xor_si512(key, mul0);
    v1 = _mm512_xor_si512(_mm512_rol_epi64(key, 32), mul1);
  }

  static __m512i zipped(__m512i words) {
    constexpr auto kHigh = static_cast<long long>(0x070806090D0A040BULL);
    constexpr auto kLow = static_cast<long long>(0x000F010E05020C03ULL);
    return _mm512_shuffle_epi8(words, both(_mm256_set_epi64x(kHigh, kLow, kHigh, kLow)));
  }

  void update(__m512i packet) {
    v1 = _mm512_add_epi64(_mm512_add_epi64(v1, packet), mul0);
    mul0 = _mm512_xor_si512(mul0, _mm512_mul_epu32(v1, _mm512_srli_epi64(v0, 32)));
    v0 = _mm512_add_epi64(v0, mul1);
    mul1 = _mm512_xor_si512(mul1, _mm512_mul_epu32(v0, _mm512_srli_epi64(v1, 32)));
    v0 = _mm512_add_epi64(v0, zipped(v1));
    v1 = _mm512_add_epi64(v1, zipped(v0));
  }

  // kMacRestBytes of them: as a packet whose last four bytes repeat theirs.
  void rest(const std::uint8_t* low, const std::uint8_t* high) {
    v0 = _mm512_add_epi64(v0, _mm512_set1_epi32(kMacRestBytes));
    v1 = _mm512_rol_epi32(v1, kMacRestBytes);
    update(_mm512_inserti64x4(_mm512_castsi256_si512(rest_packet(low)), rest_packet(high), 1));
  }

  static __m256i rest_packet(const std::uint8_t* bytes) {
    const __m128i lower = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    const __m128i upper = _mm_slli_si128(_mm_srli_si128(lower, 12), 12);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(lower), upper, 1);
  }

  void stir() {
    const __m512i order = both(_mm256_set_epi32(2, 3, 0, 1, 6, 7, 4, 5));
    const __m512i upper = _mm512_set_epi32(8, 8, 8, 8, 8, 8, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0);
    update(_mm512_permutexvar_epi32(_mm512_or_si512(order, upper), v0));
  }

  void end(Mac& low, Mac& high) const {
    const __m512i sum0 = _mm512_add_epi64(v0, mul0);
    const __m512i sum1 = _mm512_add_epi64(v1, mul1);
    const __m512i hash = _mm512_add_epi64(sum0, _mm512_permutex_epi64(sum1, 0x0E));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low.data()), _mm512_castsi512_si128(hash));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high.data()), _mm512_extracti32x4_epi32(hash, 2));
  }
};

}  // namespace

// Named states, not an array: the compiler keeps them in registers.
void compute_macs_avx512(const std::array<MacJob, kMacLanes>& jobs, std::size_t length,
                         std::array<Mac, kMacLanes>& macs) {
  static_assert(kPairs == 4);
  DRIFTLOCK_ASSERT(length % kPacketBytes == kMacRestBytes);
  const auto at = [&](std::size_t job, std::size_t offset) { return jobs[job].message + offset; };
  Pair a;
  Pair b;
  Pair c;
  Pair d;
  a.begin(jobs[0], jobs[1]);
  b.begin(jobs[2], jobs[3]);
  c.begin(jobs[4], jobs[5]);
  d.begin(jobs[6], jobs[7]);
  const std::size_t whole = length - kMacRestBytes;
  for (std::size_t i = 0; i < whole; i += kPacketBytes) {
    a.update(two(at(0, i), at(1, i)));
    b.update(two(at(2, i), at(3, i)));
    c.update(two(at(4, i), at(5, i)));
    d.update(two(at(6, i), at(7, i)));
  }
  a.rest(at(0, whole), at(1, whole));
  b.rest(at(2, whole), at(3, whole));
  c.rest(at(4, whole), at(5, whole));
  d.rest(at(6, whole), at(7, whole));
  for (int round = 0; round < 6; ++round) {
    a.stir();
    b.stir();
    c.stir();
    d.stir();
  }
  a.end(macs[0], macs[1]);
  b.end(macs[2], macs[3]);
  c.end(macs[4], macs[5]);
  d.end(macs[6], macs[7]);
}

}  // namespace driftlock

#endif
