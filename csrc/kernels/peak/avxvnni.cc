// SPDX-License-Identifier: Apache-2.0
#include "kernels/peak/peak.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

// Latency 5 at two per cycle needs 10.
constexpr int kAccumulators = 12;

// int32 lanes, so that gcc 12 keeps each accumulator once (see gemm_s8/avx512vnni.cc).
using S32x8 = int32_t __attribute__((vector_size(32)));

}  // namespace

// vpdpbusd: 32 multiply-accumulates.
int64_t peak_dpbusd_avxvnni(int64_t iterations) {
  const __m256i a_u8x32 = _mm256_set1_epi8(1), b_s8x32 = _mm256_set1_epi8(1);
  S32x8 acc[kAccumulators];
  for (int j = 0; j < kAccumulators; ++j) acc[j] = S32x8{} + j;  // equal ones would be merged
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) {
      acc[j] = reinterpret_cast<S32x8>(
          _mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(acc[j]), a_u8x32, b_s8x32));
    }
  }
  S32x8 sum = {};
  for (int j = 0; j < kAccumulators; ++j) sum += acc[j];
  volatile int32_t sink = sum[0];
  static_cast<void>(sink);
  return iterations * kAccumulators * 32;
}

}  // namespace octavo
