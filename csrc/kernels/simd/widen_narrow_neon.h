// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <arm_neon.h>

#include <cstdint>

#include "kernels/requant.h"
#include "kernels/stored.h"

// Stored bytes <-> float32, 4 vectors of float32 for 16 bytes. The steps take kQuads vectors each,
// one instruction for all of them before the next one: in-order cores issue in this order.
namespace octavo {
namespace {

// float(q - zero_point), exactly: 0x4B00uuuu is 2^23 + u, and the difference of two integers up to
// 2^24 is exact. u is q - zero_point + 1024, so positive. Out-of-order cores convert at half the
// rate at which they subtract, in-order ones at the same.
struct WidenS8x16 {
  int16x8_t bias_s16;

  explicit WidenS8x16(int32_t zero_point)
      : bias_s16(vdupq_n_s16(static_cast<int16_t>(kBias + kStoredOffset - zero_point))) {}

  template <int kQuads>
  void operator()(const int8x16_t (&q)[kQuads / 4], float32x4_t (&v)[kQuads]) const {
    const int16x8_t exponent = vdupq_n_s16(0x4B00);
    int16x8_t s16[kQuads / 2];
    for (int i = 0; i < kQuads / 4; ++i) {
      s16[2 * i] = vaddw_s8(bias_s16, vget_low_s8(q[i]));
      s16[2 * i + 1] = vaddw_high_s8(bias_s16, q[i]);
    }
    for (int i = 0; i < kQuads / 2; ++i) {
      v[2 * i] = vreinterpretq_f32_s16(vzip1q_s16(s16[i], exponent));
      v[2 * i + 1] = vreinterpretq_f32_s16(vzip2q_s16(s16[i], exponent));
    }
    for (float32x4_t& f : v) f = vsubq_f32(f, vdupq_n_f32(8388608.0f + kBias));
  }

 private:
  static constexpr int32_t kBias = 1024;
};

// clamp(rne(v), lo, hi) + zero_point as round_scalar.h does it: fminnm gives hi for NaN, and the
// sum with 1.5 * 2^23 holds the rounded value in its low bits, of which the lowest eight remain.
struct NarrowS8x16 {
  float32x4_t lo, hi;
  int8x16_t zero_point;

  explicit NarrowS8x16(const Requant& r)
      : lo(vdupq_n_f32(r.lo)),
        hi(vdupq_n_f32(r.hi)),
        zero_point(vdupq_n_s8(static_cast<int8_t>(r.zero_point - kStoredOffset))) {}

  template <int kQuads>
  void operator()(float32x4_t (&v)[kQuads], int8x16_t (&q)[kQuads / 4]) const {
    int8x16_t s16[kQuads / 2];
    for (float32x4_t& f : v) f = vminnmq_f32(f, hi);
    for (float32x4_t& f : v) f = vmaxnmq_f32(f, lo);
    for (float32x4_t& f : v) f = vaddq_f32(f, vdupq_n_f32(12582912.0f));
    for (int i = 0; i < kQuads / 2; ++i) {
      s16[i] = vreinterpretq_s8_s16(
          vuzp1q_s16(vreinterpretq_s16_f32(v[2 * i]), vreinterpretq_s16_f32(v[2 * i + 1])));
    }
    for (int i = 0; i < kQuads / 4; ++i) {
      q[i] = vaddq_s8(vuzp1q_s8(s16[2 * i], s16[2 * i + 1]), zero_point);
    }
  }
};

}  // namespace
}  // namespace octavo
