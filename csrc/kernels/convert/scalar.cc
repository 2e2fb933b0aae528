// SPDX-License-Identifier: Apache-2.0
// The norm of convert: the other rows equal this file bit by bit.
#include "kernels/convert/convert.h"
#include "kernels/round_scalar.h"

namespace octavo {
namespace {

// 0 / scale = 0, so that NaN becomes the zero point; the bounds saturate +-inf.
inline uint8_t quantize_one(float x, float scale, int32_t zero_point, uint8_t flip) {
  const float v = (x == x ? x : 0.0f) / scale;
  const float lo = static_cast<float>(-zero_point);
  const float hi = static_cast<float>(255 - zero_point);
  return static_cast<uint8_t>((round_clamped(v, lo, hi) + zero_point) ^ flip);
}

}  // namespace

void quantize_scalar(const QuantizeArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    args.out[i] = quantize_one(args.in[i], args.scale, args.zero_point, args.flip);
  }
}

void quantize_chw_scalar(const QuantizeChwArgs& args) {
  for (int32_t c = 0; c < args.channels; ++c) {
    const float* in = args.in + c * args.in_channel_stride;
    for (int32_t x = 0; x < args.width; ++x) {
      args.out[x * args.out_pixel_stride + c] =
          quantize_one(in[x], args.scale, args.zero_point, args.flip);
    }
  }
}

void dequantize_scalar(const DequantizeArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    args.out[i] = static_cast<float>((args.in[i] ^ args.flip) - args.zero_point) * args.scale;
  }
}

void flip_scalar(const FlipArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) args.out[i] = args.in[i] ^ 0x80;
}

}  // namespace octavo
