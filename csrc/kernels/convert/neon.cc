// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include <cstring>

#include "kernels/convert/convert.h"
#include "kernels/simd/partial_neon.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 16;

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

  // 1..15 values; the other bytes do not matter.
  uint8x16_t few(const float* in, int64_t n) const {
    float x[kBlock] = {};
    std::memcpy(x, in, static_cast<size_t>(n) * sizeof(float));
    return sixteen(x);
  }

  uint8x16_t up_to_16(const float* in, int64_t n) const {
    return n < kBlock ? few(in, n) : sixteen(in);
  }
};

// 16 pixels of 1 to 4 channels, which the interleaving stores put together.
template <int kCount>
struct Planes {
  uint8x16_t plane[kCount];

  Planes(const QuantizeChwArgs& args, const Quantizer& q, int32_t c, int32_t x, int64_t pixels) {
    for (int i = 0; i < kCount; ++i) {
      plane[i] = q.up_to_16(args.in + (c + i) * args.in_channel_stride + x, pixels);
    }
  }

  void store(uint8_t* out) const {
    if constexpr (kCount == 1) vst1q_u8(out, plane[0]);
    if constexpr (kCount == 2) vst2q_u8(out, {{plane[0], plane[1]}});
    if constexpr (kCount == 3) vst3q_u8(out, {{plane[0], plane[1], plane[2]}});
    if constexpr (kCount == 4) vst4q_u8(out, {{plane[0], plane[1], plane[2], plane[3]}});
  }
};

// Channels c to c + kCount - 1 of a row.
template <int kCount>
void few_channels(const QuantizeChwArgs& args, const Quantizer& q, int32_t c) {
  const bool packed = args.out_pixel_stride == kCount;
  uint8_t* out = args.out + c;
  for (int32_t x = 0; x < args.width; x += kBlock) {
    const int64_t pixels = args.width - x < kBlock ? args.width - x : kBlock;
    const Planes<kCount> planes(args, q, c, x, pixels);
    if (packed && pixels == kBlock) {
      planes.store(out);
      out += kBlock * kCount;
      continue;
    }
    uint8_t bytes[kBlock * kCount];
    planes.store(bytes);
    for (int64_t i = 0; i < pixels; ++i, out += args.out_pixel_stride) {
      std::memcpy(out, bytes + i * kCount, kCount);
    }
  }
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
  int32_t x = 0;
  for (; x + 8 <= args.width; x += 8) step8x8(args, q, c, x);
  if (x == args.width) return;
  const int32_t pixels = args.width - x;
  for (int32_t i = c; i < c + 8; ++i) {
    uint8_t bytes[kBlock];
    vst1q_u8(bytes, q.few(args.in + i * args.in_channel_stride + x, pixels));
    uint8_t* out = args.out + x * args.out_pixel_stride + i;
    for (int32_t k = 0; k < pixels; ++k, out += args.out_pixel_stride) *out = bytes[k];
  }
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
  int32_t c = 0;
  for (; c + 8 <= args.channels; c += 8) eight_channels(args, q, c);
  for (; c < args.channels; c += 4) {
    switch (args.channels - c) {
      case 1: few_channels<1>(args, q, c); break;
      case 2: few_channels<2>(args, q, c); break;
      case 3: few_channels<3>(args, q, c); break;
      default: few_channels<4>(args, q, c); break;
    }
  }
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
