// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "kernels/peak/peak.h"

namespace octavo {
namespace {

// Latency 3 at four per cycle (Neoverse V1) needs 12.
constexpr int kAccumulators = 16;

}  // namespace

// smmla: 32 multiply-accumulates.
int64_t peak_smmla_neoni8mm(int64_t iterations) {
  const int8x16_t a_s8x16 = vdupq_n_s8(1), b_s8x16 = vdupq_n_s8(1);
  int32x4_t acc[kAccumulators];
#pragma GCC unroll 16
  for (int j = 0; j < kAccumulators; ++j) acc[j] = vdupq_n_s32(j);  // equal ones would be merged
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kAccumulators; ++j) acc[j] = vmmlaq_s32(acc[j], a_s8x16, b_s8x16);
  }
#pragma GCC unroll 16
  for (int j = 0; j < kAccumulators; ++j) __asm__ volatile("" : : "w"(acc[j]));
  return iterations * kAccumulators * 32;
}

}  // namespace octavo
