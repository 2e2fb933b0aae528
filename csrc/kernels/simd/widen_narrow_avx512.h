// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "kernels/requant.h"
#include "kernels/simd/x86.h"

// 64 bytes <-> 4 x 16 float32; lane order as in widen_narrow_avx2.h.
namespace octavo {
namespace {

struct F32x64 {
  __m512 v0, v1, v2, v3;
};

// The low n of 64 (16) lanes; n >= 64 (16) means all.
inline __mmask64 low_lanes64(int64_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }
inline __mmask16 low_lanes16(int64_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xFFFFu : (1u << n) - 1);
}

// float(q - zero_point), exactly: 0x4B0000qq is 2^23 + q.
struct WidenU8x64 {
  __m512 bias;

  explicit WidenU8x64(int32_t zero_point)
      : bias(_mm512_set1_ps(8388608.0f + static_cast<float>(zero_point))) {}

  F32x64 operator()(__m512i q) const {
    const __m512i exponent = _mm512_set1_epi16(0x4B00);
    const __m512i lo = _mm512_unpacklo_epi8(q, _mm512_setzero_si512());
    const __m512i hi = _mm512_unpackhi_epi8(q, _mm512_setzero_si512());
    return {subtract(_mm512_unpacklo_epi16(lo, exponent)),
            subtract(_mm512_unpackhi_epi16(lo, exponent)),
            subtract(_mm512_unpacklo_epi16(hi, exponent)),
            subtract(_mm512_unpackhi_epi16(hi, exponent))};
  }

 private:
  __m512 subtract(__m512i bits) const { return _mm512_sub_ps(_mm512_castsi512_ps(bits), bias); }
};

// clamp(rne(v), lo, hi) + zero_point; the clamps as in NarrowU8x32.
struct NarrowU8x64 {
  __m512 hi;
  __m512i zero_point, qmin;

  explicit NarrowU8x64(const Requant& rq)
      : hi(_mm512_set1_ps(rq.hi)),
        zero_point(_mm512_set1_epi16(rq.zero_point)),
        qmin(_mm512_set1_epi8(static_cast<char>(rq.qmin))) {}

  __m512i operator()(const F32x64& v) const {
    const __m512i lo16 = _mm512_packs_epi32(round(v.v0), round(v.v1));
    const __m512i hi16 = _mm512_packs_epi32(round(v.v2), round(v.v3));
    const __m512i q = _mm512_packus_epi16(_mm512_adds_epi16(lo16, zero_point),
                                          _mm512_adds_epi16(hi16, zero_point));
    return _mm512_max_epu8(q, qmin);
  }

 private:
  __m512i round(__m512 v) const { return _mm512_cvtps_epi32(_mm512_min_ps(v, hi)); }
};

// Undoes the lane order of NarrowU8x64 when v0..v3 held 64 consecutive values.
inline __m512i sequential_u8x64(__m512i narrowed) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, narrowed);
}

}  // namespace
}  // namespace octavo
