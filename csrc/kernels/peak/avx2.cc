// SPDX-License-Identifier: Apache-2.0
#include "kernels/peak/peak.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

// vpaddd has latency 1 and the two multiplies are not part of the chain: 8 is ample.
constexpr int kAccumulators = 8;

}  // namespace

// Two vpmaddubsw whose sums stay in int16 share one vpmaddwd, as gemm_s8's paired steps do: 64
// multiply-accumulates for 3 multiplies, 42.7 per cycle on two ports.
int64_t peak_maddubs_avx2(int64_t iterations) {
  __m256i a_u8x32 = _mm256_set1_epi8(1);
  const __m256i b_s8x32 = _mm256_set1_epi8(1), ones_s16x16 = _mm256_set1_epi16(1);
  __m256i acc[kAccumulators] = {};
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kAccumulators; ++j) {
      __asm__ volatile("" : "+x"(a_u8x32));  // a new value to the compiler: nothing is hoisted
      const __m256i first_s16x16 = _mm256_maddubs_epi16(a_u8x32, b_s8x32);
      __asm__ volatile("" : "+x"(a_u8x32));
      const __m256i both_s16x16 =
          _mm256_add_epi16(first_s16x16, _mm256_maddubs_epi16(a_u8x32, b_s8x32));
      acc[j] = _mm256_add_epi32(acc[j], _mm256_madd_epi16(both_s16x16, ones_s16x16));
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < kAccumulators; ++j) __asm__ volatile("" : : "x"(acc[j]));
  return iterations * kAccumulators * 64;
}

}  // namespace octavo
