// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_f32/dwconv_f32.h"
#include "kernels/simd/clamp_f32_avx2.h"
#include "kernels/simd/x86.h"

// Up to 6 pixels of 16 channels at once: 12 chains cover the latency of an FMA, a weight is loaded
// once for all pixels, and every other load is an FMA's operand. 16 channels are a cache line: with
// 8, many pixels of many channels, which fall into few sets of the cache, are evicted between the
// halves of their lines.
namespace octavo {
namespace {

constexpr int kPixels = 6, kLanes = 16;

// P pixels of V vectors of channels.
template <int P, int V>
inline void block(const DwconvF32Args& g, const ClampF32x8& clamp, ptrdiff_t x, int c) {
  const ptrdiff_t step = g.stride_x * g.in_pixel_stride;
  const ptrdiff_t tap = g.dilation_x * g.in_pixel_stride;
  const ptrdiff_t first = x * step + c * ptrdiff_t{sizeof(float)};
  const float* w = g.weights + ptrdiff_t{c} * g.kh * g.kw;
  __m256 acc[P][V];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) acc[p][v] = _mm256_load_ps(g.bias + c + 8 * v);
  }
  for (int i = 0; i < g.kh; ++i) {
    const uint8_t* in = g.in_rows[i] + first;
    for (int j = 0; j < g.kw; ++j, in += tap, w += kLanes) {
      __m256 weight[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) weight[v] = _mm256_load_ps(w + 8 * v);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        const float* pixel = reinterpret_cast<const float*>(in + p * step);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
          acc[p][v] = _mm256_fmadd_ps(_mm256_loadu_ps(pixel + 8 * v), weight[v], acc[p][v]);
        }
      }
    }
  }
  uint8_t* out = g.out + x * g.out_pixel_stride;
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    float* pixel = reinterpret_cast<float*>(out + p * g.out_pixel_stride) + c;
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      store_f32x8(pixel + 8 * v, clamp(acc[p][v]), g.channels - c - 8 * v);
    }
  }
}

template <int P>
void tile(const DwconvF32Args& g, const ClampF32x8& clamp, ptrdiff_t x) {
  int c = 0;
  for (; c + 8 < g.channels; c += kLanes) block<P, 2>(g, clamp, x, c);
  if (c < g.channels) block<P, 1>(g, clamp, x, c);
}

}  // namespace

// Tiles of nearly equal width: 14 pixels are 5 + 5 + 4.
void dwconv_f32_x16_avx2(const DwconvF32Args& g) {
  const ClampF32x8 clamp(g.lo, g.hi);
  const int tiles = (g.out_w + kPixels - 1) / kPixels;
  const int width = g.out_w / tiles, wider = g.out_w % tiles;
  ptrdiff_t x = 0;
  for (int t = 0; t < tiles; ++t) {
    const int pixels = width + (t < wider ? 1 : 0);
    switch (pixels) {
      case 1: tile<1>(g, clamp, x); break;
      case 2: tile<2>(g, clamp, x); break;
      case 3: tile<3>(g, clamp, x); break;
      case 4: tile<4>(g, clamp, x); break;
      case 5: tile<5>(g, clamp, x); break;
      default: tile<6>(g, clamp, x); break;
    }
    x += pixels;
  }
}

}  // namespace octavo
