// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/requant.h"
#include "kernels/simd/x86.h"

// Epilogue policies for AVX512 kernels: int32 accumulators to u8. Included by kernel translation
// units only, hence the anonymous namespace (no weak symbols).
namespace octavo {
namespace {

// RoundingMode::kFloatRne. The upper clamp stands before the conversion, which turns whatever
// exceeds int32 into INT_MIN; the lower one may follow it, since packs/packus keep negatives low.
struct FloatRneAvx512 {
  explicit FloatRneAvx512(const Requant& r)
      : hi_f32x16(_mm512_set1_ps(r.hi)),
        zero_point_s16x32(_mm512_set1_epi16(r.zero_point)),
        qmin_u8x64(_mm512_set1_epi8(static_cast<char>(r.qmin))) {}

  __m512i to_s32(__m512i acc, __m512 scale) const {
    const __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), scale);
    return _mm512_cvtps_epi32(_mm512_min_ps(y, hi_f32x16));
  }

  // packs and packus work within 128-bit lanes: lane L of the result holds acc[0][4L..4L+3],
  // acc[1][4L..], and for four accumulators acc[2][4L..], acc[3][4L..].
  __m512i to_s16(__m512i lo, __m512i hi, __m512 scale_lo, __m512 scale_hi) const {
    const __m512i s16 = _mm512_packs_epi32(to_s32(lo, scale_lo), to_s32(hi, scale_hi));
    return _mm512_adds_epi16(s16, zero_point_s16x32);
  }

  __m512i to_u8(const __m512i (&acc)[4], const __m512 (&scale)[4]) const {
    const __m512i u8 = _mm512_packus_epi16(to_s16(acc[0], acc[1], scale[0], scale[1]),
                                           to_s16(acc[2], acc[3], scale[2], scale[3]));
    return _mm512_max_epu8(u8, qmin_u8x64);
  }

  // vpmovwb truncates, so the lower clamp comes first; the upper one has already happened.
  __m256i to_u8(const __m512i (&acc)[2], const __m512 (&scale)[2]) const {
    const __m512i y = to_s16(acc[0], acc[1], scale[0], scale[1]);
    const __m512i nonnegative = _mm512_max_epi16(y, _mm512_setzero_si512());
    return _mm256_max_epu8(_mm512_cvtepi16_epi8(nonnegative), _mm512_castsi512_si256(qmin_u8x64));
  }

  // Natural order: vpmovdb keeps it. INT_MIN + zero_point cannot wrap, zero_point being >= 0.
  __m128i to_u8(const __m512i (&acc)[1], const __m512 (&scale)[1]) const {
    const __m512i zero_point = _mm512_cvtepi16_epi32(_mm512_castsi512_si256(zero_point_s16x32));
    const __m512i y = _mm512_add_epi32(to_s32(acc[0], scale[0]), zero_point);
    const __m512i nonnegative = _mm512_max_epi32(y, _mm512_setzero_si512());
    return _mm_max_epu8(_mm512_cvtepi32_epi8(nonnegative), _mm512_castsi512_si128(qmin_u8x64));
  }

  __m512 hi_f32x16;
  __m512i zero_point_s16x32;
  __m512i qmin_u8x64;
};

}  // namespace
}  // namespace octavo
