// SPDX-License-Identifier: Apache-2.0
#include "base/crc32.h"
#include "kernels/crc32/crc32.h"
#include "kernels/simd/x86.h"

// Folding with carry-less multiplication. A message is a polynomial over GF(2); 128 bits of it at
// distance D may be replaced by 128 bits at distance 0 that are congruent modulo P: each 64-bit
// half times x^D mod P. Four accumulators hide the latency of pclmulqdq. What is left at the end is
// a message of 64 bytes with the same CRC, and the tables take it from there.
namespace octavo {
namespace {

constexpr size_t kBlock = 64;

// x^n modulo P = x^32 + 0x04c11db7.
constexpr uint32_t power_of_x(int n) {
  uint32_t value = 1;
  for (int i = 0; i < n; ++i) value = (value << 1) ^ ((value >> 31) != 0 ? 0x04c11db7u : 0u);
  return value;
}

// CRC-32 counts bits from the lowest: constants are mirrored, and one place higher because the
// product of two mirrored 64-bit numbers is one place short of 128 bits.
constexpr int64_t mirrored(uint32_t value) {
  uint64_t result = 0;
  for (int i = 0; i < 32; ++i) result |= uint64_t{(value >> i) & 1} << (31 - i);
  return static_cast<int64_t>(result << 1);
}

// The first 64 bits stand 64 places higher than the others. The 32 make a mirrored 32-bit constant
// of a mirrored 64-bit one.
constexpr int kDistance = 8 * kBlock;
constexpr int64_t kFirst = mirrored(power_of_x(kDistance + 32));
constexpr int64_t kSecond = mirrored(power_of_x(kDistance - 32));

inline __m128i load(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

inline __m128i fold(__m128i sum, __m128i factors, const uint8_t* next) {
  const __m128i first = _mm_clmulepi64_si128(sum, factors, 0x00);
  const __m128i second = _mm_clmulepi64_si128(sum, factors, 0x11);
  return _mm_xor_si128(_mm_xor_si128(first, second), load(next));
}

}  // namespace

uint32_t crc32_fold_avx2(const void* data, size_t size, uint32_t crc) {
  if (size < 2 * kBlock) return crc32(data, size, crc);
  const uint8_t* p = static_cast<const uint8_t*>(data);
  const __m128i factors = _mm_set_epi64x(kSecond, kFirst);
  // The register goes into the first 32 bits of the message.
  __m128i sum0 = _mm_xor_si128(load(p), _mm_cvtsi32_si128(static_cast<int>(~crc)));
  __m128i sum1 = load(p + 16), sum2 = load(p + 32), sum3 = load(p + 48);
  for (p += kBlock, size -= kBlock; size >= kBlock; p += kBlock, size -= kBlock) {
    sum0 = fold(sum0, factors, p);
    sum1 = fold(sum1, factors, p + 16);
    sum2 = fold(sum2, factors, p + 32);
    sum3 = fold(sum3, factors, p + 48);
  }
  alignas(16) uint8_t rest[kBlock];
  _mm_store_si128(reinterpret_cast<__m128i*>(rest), sum0);
  _mm_store_si128(reinterpret_cast<__m128i*>(rest + 16), sum1);
  _mm_store_si128(reinterpret_cast<__m128i*>(rest + 32), sum2);
  _mm_store_si128(reinterpret_cast<__m128i*>(rest + 48), sum3);
  return crc32(p, size, crc32(rest, kBlock, ~uint32_t{0}));  // ~0: an empty register
}

}  // namespace octavo
