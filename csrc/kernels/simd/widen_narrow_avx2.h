// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "kernels/requant.h"
#include "kernels/simd/x86.h"

// 32 bytes <-> 4 x 8 float32. Widening unpacks and narrowing packs inside 128-bit lanes, so the two
// permutations cancel: lane order needs care only where one side is used without the other.
namespace octavo {
namespace {

struct F32x32 {
  __m256 v0, v1, v2, v3;
};

// float(q - zero_point), exactly: 0x4B0000qq is 2^23 + q, and the difference of two integers up to
// 2^24 is exact, which spares the sign extension and vcvtdq2ps.
struct WidenU8x32 {
  __m256 bias;

  explicit WidenU8x32(int32_t zero_point)
      : bias(_mm256_set1_ps(8388608.0f + static_cast<float>(zero_point))) {}

  F32x32 operator()(__m256i q) const {
    const __m256i exponent = _mm256_set1_epi16(0x4B00);
    const __m256i lo = _mm256_unpacklo_epi8(q, _mm256_setzero_si256());
    const __m256i hi = _mm256_unpackhi_epi8(q, _mm256_setzero_si256());
    return {subtract(_mm256_unpacklo_epi16(lo, exponent)),
            subtract(_mm256_unpackhi_epi16(lo, exponent)),
            subtract(_mm256_unpacklo_epi16(hi, exponent)),
            subtract(_mm256_unpackhi_epi16(hi, exponent))};
  }

 private:
  __m256 subtract(__m256i bits) const { return _mm256_sub_ps(_mm256_castsi256_ps(bits), bias); }
};

// clamp(rne(v), lo, hi) + zero_point. Only the upper bound needs a clamp in float32: below the
// int32 range vcvtps2dq gives INT32_MIN, which the saturating packs carry to 0 and vpmaxub to qmin.
// min(v, hi) returns hi for NaN, as the scalar norm does.
struct NarrowU8x32 {
  __m256 hi;
  __m256i zero_point, qmin;

  explicit NarrowU8x32(const Requant& rq)
      : hi(_mm256_set1_ps(rq.hi)),
        zero_point(_mm256_set1_epi16(rq.zero_point)),
        qmin(_mm256_set1_epi8(static_cast<char>(rq.qmin))) {}

  __m256i operator()(const F32x32& v) const {
    const __m256i lo16 = _mm256_packs_epi32(round(v.v0), round(v.v1));
    const __m256i hi16 = _mm256_packs_epi32(round(v.v2), round(v.v3));
    const __m256i q = _mm256_packus_epi16(_mm256_adds_epi16(lo16, zero_point),
                                          _mm256_adds_epi16(hi16, zero_point));
    return _mm256_max_epu8(q, qmin);
  }

 private:
  __m256i round(__m256 v) const { return _mm256_cvtps_epi32(_mm256_min_ps(v, hi)); }
};

// Undoes the lane order of NarrowU8x32 when v0..v3 held 32 consecutive values.
inline __m256i sequential_u8x32(__m256i narrowed) {
  return _mm256_permutevar8x32_epi32(narrowed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

}  // namespace
}  // namespace octavo
