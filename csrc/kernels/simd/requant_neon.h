// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <arm_neon.h>

#include <cstdint>

#include "kernels/requant.h"
#include "kernels/stored.h"

// Epilogue policies for NEON kernels: int32 accumulators to stored bytes (kernels/stored.h).
// Included by kernel translation units only, hence the anonymous namespace (no weak symbols).
namespace octavo {
namespace {

// RoundingMode::kFloatRne. Multipliers are finite, so that no product is NaN, and fcvtns saturates,
// as do the narrowing moves and the addition of the zero point: values out of range stay at their
// end up to the last step, where the clamp is two instructions for 16 bytes.
//
// Each step is taken for all accumulators before the next one: an in-order core issues in the order
// of the program, and one accumulator alone is a chain of latencies.
struct FloatRneNeon {
  explicit FloatRneNeon(const Requant& r)
      : zero_point_s16x8(vdupq_n_s16(static_cast<int16_t>(r.zero_point - kStoredOffset))),
        qmin_s8x16(vdupq_n_s8(static_cast<int8_t>(r.qmin - kStoredOffset))),
        qmax_s8x16(vdupq_n_s8(static_cast<int8_t>(r.qmax - kStoredOffset))) {}

  // y[i] = stored byte of acc[i] * scale[i], 8 accumulators in order.
  int8x8_t to_s8(const int32x4_t (&acc)[2], const float32x4_t (&scale)[2]) const {
    int16x8_t s16[1];
    to_s16(acc, scale, s16);
    const int8x8_t y = vqmovn_s16(s16[0]);
    return vmin_s8(vmax_s8(y, vget_low_s8(qmin_s8x16)), vget_low_s8(qmax_s8x16));
  }

  int8x16_t to_s8(const int32x4_t (&acc)[4], const float32x4_t (&scale)[4]) const {
    int8x16_t y[1];
    to_s8(acc, scale, y);
    return y[0];
  }

  // 16 accumulators for every vector of y; 32 occupy an in-order core.
  template <int kBlocks>
  void to_s8(const int32x4_t (&acc)[4 * kBlocks], const float32x4_t (&scale)[4 * kBlocks],
             int8x16_t (&y)[kBlocks]) const {
    int16x8_t s16[2 * kBlocks];
    int8x8_t lo[kBlocks];
    to_s16(acc, scale, s16);
    for (int i = 0; i < kBlocks; ++i) lo[i] = vqmovn_s16(s16[2 * i]);
    for (int i = 0; i < kBlocks; ++i) y[i] = vqmovn_high_s16(lo[i], s16[2 * i + 1]);
    for (int i = 0; i < kBlocks; ++i) y[i] = vmaxq_s8(y[i], qmin_s8x16);
    for (int i = 0; i < kBlocks; ++i) y[i] = vminq_s8(y[i], qmax_s8x16);
  }

  // With the zero point, before the last narrowing and the clamp.
  template <int kQuads>
  void to_s16(const int32x4_t (&acc)[kQuads], const float32x4_t (&scale)[kQuads],
              int16x8_t (&s16)[kQuads / 2]) const {
    float32x4_t f[kQuads];
    int32x4_t s32[kQuads];
    int16x4_t lo[kQuads / 2];
    for (int i = 0; i < kQuads; ++i) f[i] = vcvtq_f32_s32(acc[i]);
    for (int i = 0; i < kQuads; ++i) f[i] = vmulq_f32(f[i], scale[i]);
    for (int i = 0; i < kQuads; ++i) s32[i] = vcvtnq_s32_f32(f[i]);
    for (int i = 0; i < kQuads / 2; ++i) lo[i] = vqmovn_s32(s32[2 * i]);
    for (int i = 0; i < kQuads / 2; ++i) s16[i] = vqmovn_high_s32(lo[i], s32[2 * i + 1]);
    for (int i = 0; i < kQuads / 2; ++i) s16[i] = vqaddq_s16(s16[i], zero_point_s16x8);
  }

  int16x8_t zero_point_s16x8;
  int8x16_t qmin_s8x16, qmax_s8x16;
};

}  // namespace
}  // namespace octavo
