// SPDX-License-Identifier: Apache-2.0
#include "kernels/simd/clamp_f32_avx512.h"
#include "kernels/simd/x86.h"
#include "kernels/softmax_f32/softmax_f32.h"

namespace octavo {
namespace {

inline __mmask16 lanes_of(int64_t left) {
  return static_cast<__mmask16>(left >= 16 ? 0xffffu : (1u << left) - 1);
}

// Elements of a row from `in` on; -inf, whose exponential is 0, past the end.
inline __m512 load(const float* in, int64_t left) {
  return _mm512_mask_loadu_ps(_mm512_set1_ps(-__builtin_inff()), lanes_of(left), in);
}

inline void store(float* out, __m512 v, int64_t left) {
  _mm512_mask_storeu_ps(out, lanes_of(left), v);
}

float largest(const SoftmaxF32Args& g) {
  __m512 best = _mm512_set1_ps(-__builtin_inff());
  // vmaxps gives its second operand when one is NaN.
  for (int64_t i = 0; i < g.count; i += 16) best = _mm512_max_ps(load(g.in + i, g.count - i), best);
  float lanes[16];
  _mm512_storeu_ps(lanes, best);
  float result = lanes[0];
  for (const float x : lanes) result = x > result ? x : result;
  return result;
}

inline __m512 exp_f32(__m512 d) {
  const __m512 shift = _mm512_set1_ps(ExpF32::kShift);
  const __m512 t = _mm512_fmadd_ps(d, _mm512_set1_ps(ExpF32::kLog2e), shift);
  const __m512 n = _mm512_sub_ps(t, shift);
  __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-ExpF32::kLn2High), d);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(-ExpF32::kLn2Low), r);
  __m512 p = _mm512_set1_ps(ExpF32::kInverseFactorials[0]);
#pragma GCC unroll 8
  for (int i = 1; i < ExpF32::kTerms; ++i) {
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(ExpF32::kInverseFactorials[i]));
  }
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
  const __m512 e = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent));
  const __mmask16 inside = _mm512_cmp_ps_mask(d, _mm512_set1_ps(ExpF32::kLowest), _CMP_GE_OQ);
  return _mm512_mask_mov_ps(_mm512_setzero_ps(), inside, e);
}

// Eight float64 sums, four in each half.
struct Sums {
  __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();

  void add(__m256 e) {
    low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(e)));
    high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(e, 1)));
  }
  // Lane i and lane i + 8 go to sum i, one after the other.
  void add(__m512 e) {
    add(_mm512_castps512_ps256(e));
    add(_mm256_castsi256_ps(_mm512_extracti64x4_epi64(_mm512_castps_si512(e), 1)));
  }
  float total() const {
    double s[4];
    _mm256_storeu_pd(s, _mm256_add_pd(low, high));
    return static_cast<float>((s[0] + s[2]) + (s[1] + s[3]));
  }
};

}  // namespace

void softmax_f32_x16_avx512vnni(const SoftmaxF32Args& g) {
  const __m512 max = _mm512_set1_ps(largest(g));
  Sums sums;
  unsigned nan = 0;
  for (int64_t i = 0; i < g.count; i += 16) {
    const __m512 d = _mm512_sub_ps(load(g.in + i, g.count - i), max);
    const __m512 e = exp_f32(d);
    nan |= _mm512_cmp_ps_mask(d, d, _CMP_UNORD_Q);
    sums.add(e);
    store(g.out + i, e, g.count - i);
  }
  __m512 sum = _mm512_set1_ps(sums.total());
  if (nan != 0) sum = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000));
  for (int64_t i = 0; i < g.count; i += 16) {
    store(g.out + i, _mm512_div_ps(load(g.out + i, g.count - i), sum), g.count - i);
  }
}

}  // namespace octavo
