// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/simd/partial_u8.h"
#include "kernels/simd/requant_avx2.h"

// 16 channels of AVX2 depthwise convolution. Products are vpmaddwd on s16 pairs of taps, exact for
// any 9-bit weight. vpmaddubsw on quads (w0,w1)(w2,-) has 5 of 40 instructions fewer, but measured
// between 4 % faster and 5 % slower on Zen 3, and would need a second layout where a pair
// saturates.
namespace octavo {
namespace {

constexpr int kBlock = 16;
constexpr int kPairWeights = 2 * kBlock;  // s16 values of one pair of taps

// s32: the two vectors of a block. s16: pairs of taps, a dword per channel.
struct Vec2 {
  __m256i lo, hi;
};

inline __m256i load_s32(const int32_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}

inline Vec2 load_bias(const int32_t* bias) { return {load_s32(bias), load_s32(bias + 8)}; }

inline __m256i widen_u8x16(const uint8_t* p) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

inline Vec2 interleave(__m256i a_s16x16, __m256i b_s16x16) {
  return {_mm256_unpacklo_epi16(a_s16x16, b_s16x16), _mm256_unpackhi_epi16(a_s16x16, b_s16x16)};
}

inline void multiply_add(Vec2& acc, const Vec2& taps, const int16_t* w) {
  const __m256i* w_s16x16 = reinterpret_cast<const __m256i*>(w);
  const __m256i lo = _mm256_madd_epi16(taps.lo, _mm256_load_si256(w_s16x16));
  const __m256i hi = _mm256_madd_epi16(taps.hi, _mm256_load_si256(w_s16x16 + 1));
  acc = {_mm256_add_epi32(acc.lo, lo), _mm256_add_epi32(acc.hi, hi)};
}

template <class Epilogue>
inline void finish(const Epilogue& epilogue, const Vec2& acc, const float* scale, uint8_t* out,
                   int n) {
  const __m256 scale_lo = _mm256_load_ps(scale), scale_hi = _mm256_load_ps(scale + 8);
  store_u8x16(out, epilogue.to_u8(acc.lo, acc.hi, scale_lo, scale_hi), n);
}

}  // namespace
}  // namespace octavo
