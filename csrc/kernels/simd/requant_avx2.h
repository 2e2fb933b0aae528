// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/requant.h"
#include "kernels/simd/x86.h"

// Epilogue policies for AVX2 kernels: int32 accumulators to u8. Included by kernel translation
// units only, hence the anonymous namespace (no weak symbols).
namespace octavo {
namespace {

// RoundingMode::kFloatRne. The upper clamp stands before the conversion, which turns whatever
// exceeds int32 into INT_MIN; the lower one may follow it, since packs/packus keep negatives low.
struct FloatRneAvx2 {
  explicit FloatRneAvx2(const Requant& r)
      : hi_f32x8(_mm256_set1_ps(r.hi)),
        zero_point_s16x16(_mm256_set1_epi16(r.zero_point)),
        qmin_u8x16(_mm_set1_epi8(static_cast<char>(r.qmin))) {}

  __m256i to_s32(__m256i acc, __m256 scale) const {
    const __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), scale);
    return _mm256_cvtps_epi32(_mm256_min_ps(y, hi_f32x8));
  }

  // Byte order: lo[0..3], hi[0..3], lo[4..7], hi[4..7] (packs works within 128-bit lanes).
  __m128i to_u8(__m256i lo, __m256i hi, __m256 scale_lo, __m256 scale_hi) const {
    const __m256i s16 = _mm256_packs_epi32(to_s32(lo, scale_lo), to_s32(hi, scale_hi));
    const __m256i y = _mm256_adds_epi16(s16, zero_point_s16x16);
    const __m128i u8 = _mm_packus_epi16(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    return _mm_max_epu8(u8, qmin_u8x16);
  }

  __m256 hi_f32x8;
  __m256i zero_point_s16x16;
  __m128i qmin_u8x16;
};

// kFloatRne for 32 u8 at a time, in steps. Lane L of the result holds [4L..4L+3] of the two vectors
// of the first pair, then of the second one.
//
// This one is for whole-range outputs of accumulators whose products with the multiplier are known
// to stay below 2^31: the conversion cannot overflow, and packs and packus clamp to 0 and 255.
struct WholeRangeRneAvx2 {
  explicit WholeRangeRneAvx2(const Requant& r)
      : zero_point_s16x16(_mm256_set1_epi16(r.zero_point)) {}

  static __m256i to_s32(__m256i acc, __m256 scale) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(acc), scale));
  }

  __m256i to_s16(__m256i lo_s32, __m256i hi_s32) const {
    return _mm256_adds_epi16(_mm256_packs_epi32(lo_s32, hi_s32), zero_point_s16x16);
  }

  static __m256i to_u8(__m256i first_s16, __m256i second_s16) {
    return _mm256_packus_epi16(first_s16, second_s16);
  }

  __m256i zero_point_s16x16;
};

// And this one for all others. A constant keeps the conversion from overflowing and the clamps
// follow as bytes: they need no register while accumulators occupy them all.
struct ClampedRneAvx2 {
  explicit ClampedRneAvx2(const Requant& r)
      : requant(r), zero_point_s16x16(_mm256_set1_epi16(r.zero_point)) {}

  static __m256i to_s32(__m256i acc, __m256 scale) {
    const __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), scale);
    return _mm256_cvtps_epi32(_mm256_min_ps(y, _mm256_set1_ps(2147483520.0f)));
  }

  __m256i to_s16(__m256i lo_s32, __m256i hi_s32) const {
    return _mm256_adds_epi16(_mm256_packs_epi32(lo_s32, hi_s32), zero_point_s16x16);
  }

  __m256i to_u8(__m256i first_s16, __m256i second_s16) const {
    const __m256i qmin = _mm256_set1_epi8(static_cast<char>(requant.qmin));
    const __m256i qmax = _mm256_set1_epi8(static_cast<char>(requant.qmax));
    const __m256i y = _mm256_packus_epi16(first_s16, second_s16);
    return _mm256_max_epu8(_mm256_min_epu8(y, qmax), qmin);
  }

  const Requant& requant;
  __m256i zero_point_s16x16;
};

}  // namespace
}  // namespace octavo
