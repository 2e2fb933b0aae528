// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include <cstring>

#include "kernels/convert/convert.h"
#include "kernels/simd/partial_neon.h"

namespace octavo {
namespace {

constexpr int kBlock = 16;

// A real division, which bounds these kernels on every core. fcvtns gives 0 for NaN and saturates,
// as do the narrowing moves and the addition: nothing needs a clamp.
struct Quantizer {
  float32x4_t scale;
  int16x8_t zero_point;
  uint8x16_t flip;

  Quantizer(float scale_value, int32_t zp, uint8_t flip_value)
      : scale(vdupq_n_f32(scale_value)),
        zero_point(vdupq_n_s16(static_cast<int16_t>(zp))),
        flip(vdupq_n_u8(flip_value)) {}

  int32x4_t round(float32x4_t x) const { return vcvtnq_s32_f32(vdivq_f32(x, scale)); }

  int16x8_t to_s16(const float* in) const {
    const int16x4_t lo = vqmovn_s32(round(vld1q_f32(in)));
    return vqaddq_s16(vqmovn_high_s32(lo, round(vld1q_f32(in + 4))), zero_point);
  }

  uint8x8_t eight(const float* in) const {
    return veor_u8(vqmovun_s16(to_s16(in)), vget_low_u8(flip));
  }

  uint8x16_t sixteen(const float* in) const {
    const uint8x8_t lo = vqmovun_s16(to_s16(in));
    return veorq_u8(vqmovun_high_s16(lo, to_s16(in + 8)), flip);
  }

  uint8_t one(float x) const {
    const int32x2_t s32 = vdup_n_s32(vcvtns_s32_f32(x / vgetq_lane_f32(scale, 0)));
    const int16x4_t s16 = vqadd_s16(vqmovn_s32(vcombine_s32(s32, s32)), vget_low_s16(zero_point));
    const uint8x8_t u8 = vqmovun_s16(vcombine_s16(s16, s16));
    return vget_lane_u8(veor_u8(u8, vget_low_u8(flip)), 0);
  }

  // 1..15 values; the other bytes do not matter.
  uint8x16_t few(const float* in, int64_t n) const {
    float x[kBlock] = {};
    std::memcpy(x, in, static_cast<size_t>(n) * sizeof(float));
    return sixteen(x);
  }
};

// step(first pixel) for steps of kPixels pixels that cover a row; the last one moves back over
// pixels already done. Shorter rows take `count` channels from c on pixel by pixel.
template <int kPixels, class Step>
inline void for_each_step(const QuantizeChwArgs& args, const Quantizer& q, int32_t c, int32_t count,
                          const Step& step) {
  int32_t x = 0;
  for (; x + kPixels <= args.width; x += kPixels) step(x);
  if (x == args.width) return;
  if (args.width >= kPixels) return step(args.width - kPixels);
  for (int32_t i = c; i < c + count; ++i) {
    const float* in = args.in + i * args.in_channel_stride;
    for (x = 0; x < args.width; ++x) args.out[x * args.out_pixel_stride + i] = q.one(in[x]);
  }
}

// 16 pixels of 1 to 4 channels side by side, put together. These stores are macros in clang, which
// take no commas inside braces.
inline void store_packed(uint8_t* out, const uint8x16_t (&plane)[1]) { vst1q_u8(out, plane[0]); }
inline void store_packed(uint8_t* out, const uint8x16_t (&plane)[2]) {
  const uint8x16x2_t pixels = {{plane[0], plane[1]}};
  vst2q_u8(out, pixels);
}
inline void store_packed(uint8_t* out, const uint8x16_t (&plane)[3]) {
  const uint8x16x3_t pixels = {{plane[0], plane[1], plane[2]}};
  vst3q_u8(out, pixels);
}
inline void store_packed(uint8_t* out, const uint8x16_t (&plane)[4]) {
  const uint8x16x4_t pixels = {{plane[0], plane[1], plane[2], plane[3]}};
  vst4q_u8(out, pixels);
}

template <int kCount>
void packed_channels(const QuantizeChwArgs& args, const Quantizer& q) {
  for_each_step<kBlock>(args, q, 0, kCount, [&](int32_t x) {
    const float* in = args.in + x;
    uint8x16_t plane[kCount];
    for (int i = 0; i < kCount; ++i) plane[i] = q.sixteen(in + i * args.in_channel_stride);
    store_packed(args.out + x * kCount, plane);
  });
}

// One of 16 / sizeof(Lane) pixels after the other.
template <class Lane, class Vector>
inline uint8_t* store_lanes(uint8_t* out, ptrdiff_t stride, Vector v) {
  for (int i = 0; i < kBlock / static_cast<int>(sizeof(Lane)); ++i, out += stride) {
    const Lane lane = v[i];
    std::memcpy(out, &lane, sizeof lane);
  }
  return out;
}

inline void store_pixels(uint8_t* out, ptrdiff_t stride, const uint8x16_t (&plane)[1]) {
  store_lanes<uint8_t>(out, stride, plane[0]);
}

inline void store_pixels(uint8_t* out, ptrdiff_t stride, const uint8x16_t (&plane)[2]) {
  out = store_lanes<uint16_t>(out, stride, vreinterpretq_u16_u8(vzip1q_u8(plane[0], plane[1])));
  store_lanes<uint16_t>(out, stride, vreinterpretq_u16_u8(vzip2q_u8(plane[0], plane[1])));
}

inline void store_pixels(uint8_t* out, ptrdiff_t stride, const uint8x16_t (&plane)[4]) {
  const uint16x8_t front[2] = {vreinterpretq_u16_u8(vzip1q_u8(plane[0], plane[1])),
                               vreinterpretq_u16_u8(vzip2q_u8(plane[0], plane[1]))};
  const uint16x8_t back[2] = {vreinterpretq_u16_u8(vzip1q_u8(plane[2], plane[3])),
                              vreinterpretq_u16_u8(vzip2q_u8(plane[2], plane[3]))};
  for (int i = 0; i < 2; ++i) {
    const uint16x8_t lo = vzip1q_u16(front[i], back[i]), hi = vzip2q_u16(front[i], back[i]);
    out = store_lanes<uint32_t>(out, stride, vreinterpretq_u32_u16(lo));
    out = store_lanes<uint32_t>(out, stride, vreinterpretq_u32_u16(hi));
  }
}

// Channels c to c + kCount - 1 of a row.
template <int kCount>
void few_channels(const QuantizeChwArgs& args, const Quantizer& q, int32_t c) {
  for_each_step<kBlock>(args, q, c, kCount, [&](int32_t x) {
    const float* in = args.in + c * args.in_channel_stride + x;
    uint8x16_t plane[kCount];
    for (int i = 0; i < kCount; ++i) plane[i] = q.sixteen(in + i * args.in_channel_stride);
    store_pixels(args.out + x * args.out_pixel_stride + c, args.out_pixel_stride, plane);
  });
}

// rows[i] = channel i of 8 pixels on entry, pixel i of 8 channels on return.
inline void transpose8x8(uint8x8_t (&rows)[8]) {
  uint16x4_t pairs[8];
  uint32x2_t quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = vreinterpret_u16_u8(vtrn1_u8(rows[i], rows[i + 1]));
    pairs[i + 1] = vreinterpret_u16_u8(vtrn2_u8(rows[i], rows[i + 1]));
  }
  for (int i = 0; i < 8; i += 4) {
    for (int k = 0; k < 2; ++k) {
      quads[i + k] = vreinterpret_u32_u16(vtrn1_u16(pairs[i + k], pairs[i + k + 2]));
      quads[i + k + 2] = vreinterpret_u32_u16(vtrn2_u16(pairs[i + k], pairs[i + k + 2]));
    }
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = vreinterpret_u8_u32(vtrn1_u32(quads[i], quads[i + 4]));
    rows[i + 4] = vreinterpret_u8_u32(vtrn2_u32(quads[i], quads[i + 4]));
  }
}

// Channels c to c + 7 of 8 pixels.
inline void step8x8(const QuantizeChwArgs& args, const Quantizer& q, int32_t c, int32_t x) {
  const float* in = args.in + c * args.in_channel_stride + x;
  uint8_t* out = args.out + x * args.out_pixel_stride + c;
  uint8x8_t rows[8];
  for (int i = 0; i < 8; ++i) rows[i] = q.eight(in + i * args.in_channel_stride);
  transpose8x8(rows);
  for (int i = 0; i < 8; ++i) vst1_u8(out + i * args.out_pixel_stride, rows[i]);
}

// Channels c to c + 7 of a row.
void eight_channels(const QuantizeChwArgs& args, const Quantizer& q, int32_t c) {
  for_each_step<8>(args, q, c, 8, [&](int32_t x) { step8x8(args, q, c, x); });
}

struct Dequantizer {
  float32x4_t scale;
  uint16x8_t bias;
  uint8x16_t flip;

  explicit Dequantizer(const DequantizeArgs& args)
      : scale(vdupq_n_f32(args.scale)),
        bias(vdupq_n_u16(static_cast<uint16_t>(kBias - args.zero_point))),
        flip(vdupq_n_u8(args.flip)) {}

  // q - zero_point + 1024 below the exponent of 2^23, then off with both: exact.
  void operator()(uint8x16_t in, float* out) const {
    const uint8x16_t q = veorq_u8(in, flip);
    const uint16x8_t d[2] = {vaddw_u8(bias, vget_low_u8(q)), vaddw_high_u8(bias, q)};
    const uint16x8_t exponent = vdupq_n_u16(0x4B00);
    for (int i = 0; i < 2; ++i, out += 8) {
      vst1q_f32(out, scaled(vzip1q_u16(d[i], exponent)));
      vst1q_f32(out + 4, scaled(vzip2q_u16(d[i], exponent)));
    }
  }

 private:
  static constexpr int32_t kBias = 1024;

  float32x4_t scaled(uint16x8_t bits) const {
    const float32x4_t v = vreinterpretq_f32_u16(bits);
    return vmulq_f32(vsubq_f32(v, vdupq_n_f32(8388608.0f + kBias)), scale);
  }
};

}  // namespace

void quantize_neon(const QuantizeArgs& args) {
  const Quantizer q(args.scale, args.zero_point, args.flip);
  int64_t i = 0;
  for (; i + kBlock <= args.n; i += kBlock) vst1q_u8(args.out + i, q.sixteen(args.in + i));
  if (i == args.n) return;
  store_part(args.out + i, q.few(args.in + i, args.n - i), static_cast<int>(args.n - i));
}

void quantize_chw_neon(const QuantizeChwArgs& args) {
  const Quantizer q(args.scale, args.zero_point, args.flip);
  if (args.out_pixel_stride == args.channels) {
    switch (args.channels) {
      case 1: return packed_channels<1>(args, q);
      case 2: return packed_channels<2>(args, q);
      case 3: return packed_channels<3>(args, q);
      case 4: return packed_channels<4>(args, q);
      default: break;
    }
  }
  int32_t c = 0;
  for (; c + 8 <= args.channels; c += 8) eight_channels(args, q, c);
  if (c + 4 <= args.channels) {
    few_channels<4>(args, q, c);
    c += 4;
  }
  if (c + 2 <= args.channels) {
    few_channels<2>(args, q, c);
    c += 2;
  }
  if (c < args.channels) few_channels<1>(args, q, c);
}

void dequantize_neon(const DequantizeArgs& args) {
  const Dequantizer dequantize(args);
  int64_t i = 0;
  for (; i + kBlock <= args.n; i += kBlock) dequantize(vld1q_u8(args.in + i), args.out + i);
  if (i == args.n) return;
  const int64_t rest = args.n - i;
  float x[kBlock];
  dequantize(load_part(args.in + i, static_cast<int>(rest)), x);
  std::memcpy(args.out + i, x, static_cast<size_t>(rest) * sizeof(float));
}

void flip_neon(const FlipArgs& args) {
  const uint8x16_t bit7 = vdupq_n_u8(0x80);
  int64_t i = 0;
  for (; i + kBlock <= args.n; i += kBlock) {
    vst1q_u8(args.out + i, veorq_u8(vld1q_u8(args.in + i), bit7));
  }
  for (; i < args.n; ++i) args.out[i] = args.in[i] ^ 0x80;
}

}  // namespace octavo
