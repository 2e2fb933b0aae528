// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstring>

#include "kernels/simd/x86.h"

// The end of float32 AVX2 kernels: clamp_f32 of fma_scalar.h, and stores that end inside a vector.
namespace octavo {
namespace {

struct ClampF32x8 {
  __m256 lo, hi, nan;

  ClampF32x8(float low, float high)
      : lo(_mm256_set1_ps(low)),
        hi(_mm256_set1_ps(high)),
        nan(_mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000))) {}

  // vmaxps and vminps return their second operand when the operands are equal or one is NaN.
  __m256 operator()(__m256 v) const {
    const __m256 clamped = _mm256_min_ps(hi, _mm256_max_ps(lo, v));
    return _mm256_blendv_ps(clamped, nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  }
};

// Exactly the first n of 8 values, n >= 1; vmaskmovps stores cost tens of cycles on some cores.
inline void store_f32x8(float* out, __m256 v, int n) {
  if (n >= 8) {
    _mm256_storeu_ps(out, v);
    return;
  }
  __m128 half = _mm256_castps256_ps128(v);
  if (n & 4) {
    _mm_storeu_ps(out, half);
    half = _mm256_extractf128_ps(v, 1);
    out += 4;
  }
  if (n & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(out), half);
    half = _mm_movehl_ps(half, half);
    out += 2;
  }
  if (n & 1) _mm_store_ss(out, half);
}

}  // namespace
}  // namespace octavo
