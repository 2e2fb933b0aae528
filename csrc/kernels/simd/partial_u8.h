// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/simd/x86.h"

// The ends of rows in AVX2 kernels, which have no byte masks: exactly n bytes, n in 1..16.
namespace octavo {
namespace {

inline void store_u8x16(uint8_t* out, __m128i v, int n) {
  if (n == 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), v);
    return;
  }
  if (n & 8) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), v);
    v = _mm_unpackhi_epi64(v, v);
    out += 8;
  }
  uint64_t rest = static_cast<uint64_t>(_mm_cvtsi128_si64(v));
  for (int bytes = 4; bytes > 0; bytes /= 2) {
    if ((n & bytes) == 0) continue;
    std::memcpy(out, &rest, static_cast<size_t>(bytes));
    rest >>= 8 * bytes;
    out += bytes;
  }
}

// Bytes n..15 are 0.
inline __m128i load_u8x16(const uint8_t* in, int n) {
  if (n == 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
  uint64_t rest = 0;
  for (int bytes = 1, at = n; bytes <= 4; bytes *= 2) {  // backwards: the first byte ends up lowest
    if ((n & bytes) == 0) continue;
    at -= bytes;
    uint64_t part = 0;
    std::memcpy(&part, in + at, static_cast<size_t>(bytes));
    rest = rest << (8 * bytes) | part;
  }
  const __m128i low = _mm_cvtsi64_si128(static_cast<int64_t>(rest));
  if ((n & 8) == 0) return low;
  return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(in)), low);
}

}  // namespace
}  // namespace octavo
