// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_f32/dwconv_f32.h"
#include "kernels/simd/clamp_f32_neon.h"

// Up to 4 pixels of 16 channels at once: 16 chains cover the latency of an fmla, a weight is loaded
// once for all pixels, and a pixel's 64 bytes are whole cache lines (see avx2.cc).
namespace octavo {
namespace {

constexpr int kPixels = 4, kLanes = 16;

// P pixels of V vectors of channels.
template <int P, int V>
inline void block(const DwconvF32Args& g, const ClampF32x4& clamp, ptrdiff_t x, int c) {
  const ptrdiff_t step = g.stride_x * g.in_pixel_stride;
  const ptrdiff_t tap = g.dilation_x * g.in_pixel_stride;
  const ptrdiff_t first = x * step + c * ptrdiff_t{sizeof(float)};
  const float* w = g.weights + ptrdiff_t{c} * g.kh * g.kw;
  float32x4_t acc[P][V];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[p][v] = vld1q_f32(g.bias + c + 4 * v);
  }
  for (int i = 0; i < g.kh; ++i) {
    const uint8_t* in = g.in_rows[i] + first;
    for (int j = 0; j < g.kw; ++j, in += tap, w += kLanes) {
      float32x4_t weight[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) weight[v] = vld1q_f32(w + 4 * v);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const float* pixel = reinterpret_cast<const float*>(in + p * step);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          acc[p][v] = vfmaq_f32(acc[p][v], vld1q_f32(pixel + 4 * v), weight[v]);
        }
      }
    }
  }
  uint8_t* out = g.out + x * g.out_pixel_stride;
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    float* pixel = reinterpret_cast<float*>(out + p * g.out_pixel_stride) + c;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      store_f32x4(pixel + 4 * v, clamp(acc[p][v]), g.channels - c - 4 * v);
    }
  }
}

template <int P>
void tile(const DwconvF32Args& g, const ClampF32x4& clamp, ptrdiff_t x) {
  int c = 0;
  for (; c + 8 < g.channels; c += kLanes) block<P, 4>(g, clamp, x, c);
  if (c < g.channels) block<P, 2>(g, clamp, x, c);
}

}  // namespace

// Tiles of nearly equal width: 14 pixels are 4 + 4 + 3 + 3.
void dwconv_f32_x16_neon(const DwconvF32Args& g) {
  const ClampF32x4 clamp(g.lo, g.hi);
  const int tiles = (g.out_w + kPixels - 1) / kPixels;
  const int width = g.out_w / tiles, wider = g.out_w % tiles;
  ptrdiff_t x = 0;
  for (int t = 0; t < tiles; ++t) {
    const int pixels = width + (t < wider ? 1 : 0);
    switch (pixels) {
      case 1: tile<1>(g, clamp, x); break;
      case 2: tile<2>(g, clamp, x); break;
      case 3: tile<3>(g, clamp, x); break;
      default: tile<4>(g, clamp, x); break;
    }
    x += pixels;
  }
}

}  // namespace octavo
