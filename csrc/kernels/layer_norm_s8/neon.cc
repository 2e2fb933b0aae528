// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/layer_norm_s8/layer_norm_s8.h"
#include "kernels/simd/widen_narrow_neon.h"

namespace octavo {
namespace {

constexpr int kBlock = 16;

inline int8x16_t load(const uint8_t* p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }

// Sums over the stored bytes, in 32-bit lanes: squares are at most 2^14, n is at most 2^15.
struct Sums {
  int32x4_t sum = vdupq_n_s32(0);
  uint32x4_t squares = vdupq_n_u32(0);

  void add(int8x16_t s) {
    sum = vpadalq_s16(sum, vpaddlq_s8(s));
    // Two squares are at most 2^15: an unsigned half-word.
    const int16x8_t pair = vmlal_high_s8(vmull_s8(vget_low_s8(s), vget_low_s8(s)), s, s);
    squares = vpadalq_u16(squares, vreinterpretq_u16_s16(pair));
  }

  // Of d = s - z, together with the sums of the other bytes.
  LayerNormRow row(const LayerNormS8Args& args, const Sums& others) const {
    const int64_t z = args.in_zero_point - kStoredOffset;
    const int64_t s1 = vaddvq_s32(vaddq_s32(sum, others.sum));
    const int64_t s2 = vaddvq_u32(vaddq_u32(squares, others.squares));
    return LayerNormRow(args, s1 - args.n * z, s2 - 2 * z * s1 + args.n * z * z);
  }
};

struct Normalize {
  float32x4_t n, sum, factor;
  WidenS8x16 widen;
  NarrowS8x16 narrow;

  Normalize(const LayerNormS8Args& args, const LayerNormRow& row)
      : n(vdupq_n_f32(row.n)),
        sum(vdupq_n_f32(row.sum)),
        factor(vdupq_n_f32(row.factor)),
        widen(args.in_zero_point),
        narrow(args.requant) {}

  template <int kBlocks>
  void operator()(const int8x16_t (&s)[kBlocks], const float* gain, const float* shift,
                  uint8_t* out) const {
    constexpr int kQuads = 4 * kBlocks;
    float32x4_t v[kQuads];
    int8x16_t y[kBlocks];
    widen(s, v);
    for (float32x4_t& f : v) f = vmulq_f32(n, f);
    for (float32x4_t& f : v) f = vsubq_f32(f, sum);
    for (float32x4_t& f : v) f = vmulq_f32(f, factor);
    for (int i = 0; i < kQuads; ++i) v[i] = vmulq_f32(v[i], vld1q_f32(gain + 4 * i));
    for (int i = 0; i < kQuads; ++i) v[i] = vaddq_f32(v[i], vld1q_f32(shift + 4 * i));
    narrow(v, y);
    for (int i = 0; i < kBlocks; ++i) vst1q_u8(out + kBlock * i, vreinterpretq_u8_s8(y[i]));
  }
};

}  // namespace

void layer_norm_s8_x32_neon(const LayerNormS8Args& args) {
  const uint8_t* in = args.in;
  uint8_t* out = args.out;
  const float *gain = args.gain, *shift = args.shift;
  const int64_t whole = args.n & -kBlock, rest = args.n - whole;
  uint8_t tail[kBlock] = {};  // stored zeros add nothing to a sum
  std::memcpy(tail, in + whole, static_cast<size_t>(rest));
  const int8x16_t last[1] = {load(tail)};
  Sums even, odd;  // two chains of additions
  int64_t i = 0;
  for (; i + 2 * kBlock <= whole; i += 2 * kBlock) {
    even.add(load(in + i));
    odd.add(load(in + i + kBlock));
  }
  if (i < whole) even.add(load(in + i));
  odd.add(last[0]);

  const Normalize normalize(args, even.row(args, odd));
  i = 0;
  for (; i + 2 * kBlock <= whole; i += 2 * kBlock) {
    const int8x16_t s[2] = {load(in + i), load(in + i + kBlock)};
    normalize(s, gain + i, shift + i, out + i);
  }
  if (i < whole) {
    const int8x16_t s[1] = {load(in + i)};
    normalize(s, gain + i, shift + i, out + i);
  }
  if (rest == 0) return;
  normalize(last, gain + whole, shift + whole, tail);
  std::memcpy(out + whole, tail, static_cast<size_t>(rest));
}

}  // namespace octavo
