// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <arm_neon.h>

// The end of float32 NEON kernels: clamp_f32 of fma_scalar.h, and stores that end inside a vector;
// and what keeps their sums in registers.
namespace octavo {
namespace {

// Computes v here. gcc 12 otherwise loads far ahead until the registers do not suffice, and keeps
// some sums in two registers, moving them every step.
inline void settle(float32x4_t& v) { __asm__("" : "+w"(v)); }

// Compare and select: fmax and fmin would turn -0 into a bound of +0.
struct ClampF32x4 {
  float32x4_t lo, hi, nan;

  ClampF32x4(float low, float high)
      : lo(vdupq_n_f32(low)),
        hi(vdupq_n_f32(high)),
        nan(vreinterpretq_f32_u32(vdupq_n_u32(0x7fc00000))) {}

  float32x4_t operator()(float32x4_t v) const {
    const float32x4_t low = vbslq_f32(vcgtq_f32(lo, v), lo, v);
    const float32x4_t clamped = vbslq_f32(vcgtq_f32(low, hi), hi, low);
    return vbslq_f32(vceqq_f32(v, v), clamped, nan);
  }
};

// Exactly the first n of 4 values; none when n <= 0.
inline void store_f32x4(float* out, float32x4_t v, int n) {
  if (n >= 4) {
    vst1q_f32(out, v);
    return;
  }
  if (n <= 0) return;
  float32x2_t half = vget_low_f32(v);
  if (n & 2) {
    vst1_f32(out, half);
    half = vget_high_f32(v);
    out += 2;
  }
  if (n & 1) vst1_lane_f32(out, half, 0);
}

}  // namespace
}  // namespace octavo
