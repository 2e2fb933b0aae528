// SPDX-License-Identifier: Apache-2.0
// The norm of dwconv_f32: the other rows equal this file bit by bit.
#include "kernels/dwconv_f32/dwconv_f32.h"
#include "kernels/fma_scalar.h"

namespace octavo {
namespace {

constexpr int kLanes = 4;

float pixel(const DwconvF32Args& g, ptrdiff_t first, int c) {
  const ptrdiff_t taps = static_cast<ptrdiff_t>(g.kh) * g.kw;
  const float* w = g.weights + c / kLanes * taps * kLanes + c % kLanes;
  float acc = g.bias[c];
  for (int i = 0; i < g.kh; ++i) {
    const uint8_t* in = g.in_rows[i] + first;
    for (int j = 0; j < g.kw; ++j, w += kLanes) {
      const float* at =
          reinterpret_cast<const float*>(in + ptrdiff_t{j} * g.dilation_x * g.in_pixel_stride);
      acc = fma_f32(at[c], *w, acc);
    }
  }
  return clamp_f32(acc, g.lo, g.hi);
}

}  // namespace

void dwconv_f32_x4_scalar(const DwconvF32Args& g) {
  for (ptrdiff_t x = 0; x < g.out_w; ++x) {
    float* out = reinterpret_cast<float*>(g.out + x * g.out_pixel_stride);
    const ptrdiff_t first = x * g.stride_x * g.in_pixel_stride;
    for (int c = 0; c < g.channels; ++c) out[c] = pixel(g, first, c);
  }
}

}  // namespace octavo
