// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "kernels/peak/peak.h"

namespace octavo {
namespace {

// Latency 4 to 6 at one per cycle, two on large cores.
constexpr int kAccumulators = 12;

// A new value to the compiler: nothing is hoisted.
inline int8x8_t renewed(int8x8_t v) {
  __asm__ volatile("" : "+w"(v));
  return v;
}

}  // namespace

// smull and smlal share an int16 sum, which sadalp widens, as gemm_s8 does it: 16
// multiply-accumulates for 3 instructions, of which in-order cores issue one per cycle.
int64_t peak_smlal_neon(int64_t iterations) {
  int8x8_t a_s8x8 = vdup_n_s8(1);
  const int8x8_t b_s8x8 = renewed(vdup_n_s8(1));  // nor is a product by 1 a mere widening
  int32x4_t acc[kAccumulators] = {};
  for (int64_t i = 0; i < iterations; ++i) {
    int16x8_t sum_s16x8[kAccumulators];
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) {
      a_s8x8 = renewed(a_s8x8);
      sum_s16x8[j] = vmull_s8(a_s8x8, b_s8x8);
    }
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) {
      a_s8x8 = renewed(a_s8x8);
      sum_s16x8[j] = vmlal_s8(sum_s16x8[j], a_s8x8, b_s8x8);
    }
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) acc[j] = vpadalq_s16(acc[j], sum_s16x8[j]);
  }
#pragma GCC unroll 12
  for (int j = 0; j < kAccumulators; ++j) __asm__ volatile("" : : "w"(acc[j]));
  return iterations * kAccumulators * 16;
}

}  // namespace octavo
