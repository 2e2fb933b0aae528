// SPDX-License-Identifier: Apache-2.0
#include "kernels/simd/clamp_f32_avx2.h"
#include "kernels/simd/x86.h"
#include "kernels/softmax_f32/softmax_f32.h"

namespace octavo {
namespace {

// Elements of a row from `in` on; -inf, whose exponential is 0, past the end.
inline __m256 load(const float* in, int64_t left) {
  if (left >= 8) return _mm256_loadu_ps(in);
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left)), lanes);
  return _mm256_blendv_ps(_mm256_set1_ps(-__builtin_inff()), _mm256_maskload_ps(in, mask),
                          _mm256_castsi256_ps(mask));
}

inline void store(float* out, __m256 v, int64_t left) {
  store_f32x8(out, v, left < 8 ? static_cast<int>(left) : 8);
}

float largest(const SoftmaxF32Args& g) {
  __m256 best = _mm256_set1_ps(-__builtin_inff());
  // vmaxps gives its second operand when one is NaN.
  for (int64_t i = 0; i < g.count; i += 8) best = _mm256_max_ps(load(g.in + i, g.count - i), best);
  float lanes[8];
  _mm256_storeu_ps(lanes, best);
  float result = lanes[0];
  for (const float x : lanes) result = x > result ? x : result;
  return result;
}

inline __m256 exp_f32(__m256 d) {
  const __m256 shift = _mm256_set1_ps(ExpF32::kShift);
  const __m256 t = _mm256_fmadd_ps(d, _mm256_set1_ps(ExpF32::kLog2e), shift);
  const __m256 n = _mm256_sub_ps(t, shift);
  __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-ExpF32::kLn2High), d);
  r = _mm256_fmadd_ps(n, _mm256_set1_ps(-ExpF32::kLn2Low), r);
  __m256 p = _mm256_set1_ps(ExpF32::kInverseFactorials[0]);
#pragma GCC unroll 8
  for (int i = 1; i < ExpF32::kTerms; ++i) {
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(ExpF32::kInverseFactorials[i]));
  }
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
  const __m256 e = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
  return _mm256_and_ps(e, _mm256_cmp_ps(d, _mm256_set1_ps(ExpF32::kLowest), _CMP_GE_OQ));
}

}  // namespace

void softmax_f32_x8_avx2(const SoftmaxF32Args& g) {
  const __m256 max = _mm256_set1_ps(largest(g));
  __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
  __m256 nan = _mm256_setzero_ps();
  for (int64_t i = 0; i < g.count; i += 8) {
    const __m256 d = _mm256_sub_ps(load(g.in + i, g.count - i), max);
    const __m256 e = exp_f32(d);
    nan = _mm256_or_ps(nan, _mm256_cmp_ps(d, d, _CMP_UNORD_Q));
    low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(e)));
    high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(e, 1)));
    store(g.out + i, e, g.count - i);
  }
  double s[4];
  _mm256_storeu_pd(s, _mm256_add_pd(low, high));
  __m256 sum = _mm256_set1_ps(static_cast<float>((s[0] + s[2]) + (s[1] + s[3])));
  if (_mm256_movemask_ps(nan) != 0) sum = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
  for (int64_t i = 0; i < g.count; i += 8) {
    store(g.out + i, _mm256_div_ps(load(g.out + i, g.count - i), sum), g.count - i);
  }
}

}  // namespace octavo
