// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/simd/x86.h"

// The end of float32 AVX-512 kernels: clamp_f32 of fma_scalar.h, and stores that end inside a
// vector.
namespace octavo {
namespace {

struct ClampF32x16 {
  __m512 lo, hi, nan;

  ClampF32x16(float low, float high)
      : lo(_mm512_set1_ps(low)),
        hi(_mm512_set1_ps(high)),
        nan(_mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000))) {}

  // vmaxps and vminps return their second operand when the operands are equal or one is NaN.
  __m512 operator()(__m512 v) const {
    const __m512 clamped = _mm512_min_ps(hi, _mm512_max_ps(lo, v));
    return _mm512_mask_mov_ps(clamped, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), nan);
  }
};

// Exactly the first n of 16 values, n >= 1.
inline void store_f32x16(float* out, __m512 v, int n) {
  if (n >= 16) {
    _mm512_storeu_ps(out, v);
  } else {
    _mm512_mask_storeu_ps(out, static_cast<__mmask16>((1u << n) - 1), v);
  }
}

}  // namespace
}  // namespace octavo
