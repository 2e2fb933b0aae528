// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/simd/x86.h"

// What the packing of both x86 rows has in common. Included by kernel translation units only.
namespace octavo {
namespace {

// 4x4 dwords: out[i] takes dword i of each of the four columns and stands `step` bytes further on.
inline void store_transposed(const __m128i (&column)[4], uint8_t* out, ptrdiff_t step) {
  const __m128i lo01 = _mm_unpacklo_epi32(column[0], column[1]);
  const __m128i hi01 = _mm_unpackhi_epi32(column[0], column[1]);
  const __m128i lo23 = _mm_unpacklo_epi32(column[2], column[3]);
  const __m128i hi23 = _mm_unpackhi_epi32(column[2], column[3]);
  _mm_store_si128(reinterpret_cast<__m128i*>(out), _mm_unpacklo_epi64(lo01, lo23));
  _mm_store_si128(reinterpret_cast<__m128i*>(out + step), _mm_unpackhi_epi64(lo01, lo23));
  _mm_store_si128(reinterpret_cast<__m128i*>(out + 2 * step), _mm_unpacklo_epi64(hi01, hi23));
  _mm_store_si128(reinterpret_cast<__m128i*>(out + 3 * step), _mm_unpackhi_epi64(hi01, hi23));
}

// `in` where all `size` bytes may be read, else the first `valid` of them followed by `fill`.
template <int kSize>
inline const uint8_t* whole(const uint8_t* in, int64_t valid, uint8_t fill, uint8_t* bounce) {
  if (valid >= kSize) return in;
  std::memset(bounce, fill, kSize);
  if (valid > 0) std::memcpy(bounce, in, static_cast<size_t>(valid));
  return bounce;
}

}  // namespace
}  // namespace octavo
