// SPDX-License-Identifier: Apache-2.0
#include "kernels/peak/peak.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

// Latency 5 at two per cycle (server cores with two 512-bit ports) needs 10.
constexpr int kAccumulators = 12;

// int32 lanes, so that gcc 12 keeps each accumulator once (see gemm_s8/avx512vnni.cc).
using S32x16 = int32_t __attribute__((vector_size(64)));

}  // namespace

// vpdpbusd: 64 multiply-accumulates.
int64_t peak_dpbusd_avx512vnni(int64_t iterations) {
  const __m512i a_u8x64 = _mm512_set1_epi8(1), b_s8x64 = _mm512_set1_epi8(1);
  S32x16 acc[kAccumulators];
  for (int j = 0; j < kAccumulators; ++j) acc[j] = S32x16{} + j;  // equal ones would be merged
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) {
      acc[j] = reinterpret_cast<S32x16>(
          _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(acc[j]), a_u8x64, b_s8x64));
    }
  }
  S32x16 sum = {};
  for (int j = 0; j < kAccumulators; ++j) sum += acc[j];
  volatile int32_t sink = sum[0];
  static_cast<void>(sink);
  return iterations * kAccumulators * 64;
}

}  // namespace octavo
