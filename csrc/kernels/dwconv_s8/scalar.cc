// SPDX-License-Identifier: Apache-2.0
// The norm of dwconv_s8: the other rows equal this file bit by bit.
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/round_scalar.h"
#include "kernels/stored.h"

namespace octavo {
namespace {

constexpr int kBlock = 64;  // channels accumulated together, so that every tap reads a run of bytes

// One pixel, channels c .. c + n. uint32 wraps by definition where int32 would be undefined.
void accumulate(const DwconvS8Args& args, ptrdiff_t pixel, int c, int n, uint32_t (&acc)[kBlock]) {
  const int16_t* w = static_cast<const int16_t*>(args.packed.weights) + c;
  for (int k = 0; k < n; ++k) acc[k] = static_cast<uint32_t>(args.packed.bias[c + k]);
  for (int i = 0; i < args.kh; ++i) {
    for (int j = 0; j < args.kw; ++j, w += args.channels) {
      const ptrdiff_t column = pixel + static_cast<ptrdiff_t>(j) * args.dilation_x;
      const uint8_t* in = args.in_rows[i] + column * args.in_pixel_stride + c;
      for (int k = 0; k < n; ++k) acc[k] += static_cast<uint32_t>(number_of(in[k]) * w[k]);
    }
  }
}

}  // namespace

void dwconv_s8_any_scalar(const DwconvS8Args& args) {
  const Requant& rq = args.requant;
  for (int x = 0; x < args.out_w; ++x) {
    uint8_t* out = args.out + x * args.out_pixel_stride;
    for (int c = 0; c < args.channels; c += kBlock) {
      const int n = args.channels - c < kBlock ? args.channels - c : kBlock;
      uint32_t acc[kBlock];
      accumulate(args, static_cast<ptrdiff_t>(x) * args.stride_x, c, n, acc);
      for (int k = 0; k < n; ++k) {
        const float v = static_cast<float>(static_cast<int32_t>(acc[k])) * args.packed.scale[c + k];
        out[c + k] = stored_of(round_clamped(v, rq.lo, rq.hi) + rq.zero_point);
      }
    }
  }
}

}  // namespace octavo
