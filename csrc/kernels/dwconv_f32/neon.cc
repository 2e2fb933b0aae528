// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_f32/dwconv_f32.h"
#include "kernels/simd/clamp_f32_neon.h"

// fmla takes no operand from memory, and cores load one vector (A72) to three (V1) per cycle. So
// three columns of stride 1, nearly all layers, slide: up to 7 pixels of 8 channels use each loaded
// pixel for three outputs, 24 loads per 42 fmla. Others take up to 3 pixels of 16 channels, 16
// loads per 12 fmla: weights are loaded once for all pixels, and a pixel's 64 bytes are whole cache
// lines. One pixel more than 7 or 3, and gcc 12 keeps sums in memory.
namespace octavo {
namespace {

constexpr int kPixels = 3, kSlidingPixels = 7, kLanes = 16, kSlidingLanes = 8;

// P pixels of V vectors of channels.
template <int P, int V>
inline void block(const DwconvF32Args& g, ptrdiff_t x, int c) {
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
          settle(acc[p][v]);
        }
      }
    }
  }
  const ClampF32x4 clamp(g.lo, g.hi);  // here, or it would hold registers throughout the loops
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

// P pixels of 8 channels of a kernel of three columns, stride and dilation 1.
template <int P>
inline void slide(const DwconvF32Args& g, ptrdiff_t x, int c) {
  constexpr int kTaps = 3, kVectors = kSlidingLanes / 4;
  const ptrdiff_t first = x * g.in_pixel_stride + c * ptrdiff_t{sizeof(float)};
  const float* w = g.weights + ptrdiff_t{c - c % kLanes} * g.kh * kTaps + c % kLanes;
  float32x4_t acc[P][kVectors];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    for (int v = 0; v < kVectors; ++v) acc[p][v] = vld1q_f32(g.bias + c + 4 * v);
  }
  for (int i = 0; i < g.kh; ++i, w += kTaps * kLanes) {
    const uint8_t* in = g.in_rows[i] + first;
#pragma GCC unroll 9
    for (int q = 0; q < P + kTaps - 1; ++q, in += g.in_pixel_stride) {
      for (int v = 0; v < kVectors; ++v) {
        const float32x4_t value = vld1q_f32(reinterpret_cast<const float*>(in) + 4 * v);
#pragma GCC unroll 3
        for (int j = 0; j < kTaps; ++j) {
          const int p = q - j;
          if (p < 0 || p >= P) continue;
          acc[p][v] = vfmaq_f32(acc[p][v], value, vld1q_f32(w + j * kLanes + 4 * v));
          settle(acc[p][v]);
        }
      }
    }
  }
  const ClampF32x4 clamp(g.lo, g.hi);  // here, or it would hold registers throughout the loops
  uint8_t* out = g.out + x * g.out_pixel_stride;
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p, out += g.out_pixel_stride) {
    for (int v = 0; v < kVectors; ++v) {
      const int at = c + 4 * v;
      store_f32x4(reinterpret_cast<float*>(out) + at, clamp(acc[p][v]), g.channels - at);
    }
  }
}

template <int P>
void tile(const DwconvF32Args& g, ptrdiff_t x) {
  int c = 0;
  for (; c + 8 < g.channels; c += kLanes) block<P, 4>(g, x, c);
  if (c < g.channels) block<P, 2>(g, x, c);
}

template <int P>
void sliding_tile(const DwconvF32Args& g, ptrdiff_t x) {
  for (int c = 0; c < g.channels; c += kSlidingLanes) slide<P>(g, x, c);
}

using Tile = void (*)(const DwconvF32Args& g, ptrdiff_t x);
constexpr Tile kTiles[kPixels] = {tile<1>, tile<2>, tile<3>};
constexpr Tile kSlidingTiles[kSlidingPixels] = {sliding_tile<1>, sliding_tile<2>, sliding_tile<3>,
                                                sliding_tile<4>, sliding_tile<5>, sliding_tile<6>,
                                                sliding_tile<7>};

}  // namespace

// Tiles of nearly equal width: 16 pixels are 3 + 3 + 3 + 3 + 2 + 2, or 6 + 5 + 5.
void dwconv_f32_x16_neon(const DwconvF32Args& g) {
  const bool slides = g.kw == 3 && g.stride_x == 1 && g.dilation_x == 1;
  const Tile* run = slides ? kSlidingTiles : kTiles;
  const int most = slides ? kSlidingPixels : kPixels;
  const int tiles = (g.out_w + most - 1) / most;
  const int width = g.out_w / tiles, wider = g.out_w % tiles;
  ptrdiff_t x = 0;
  for (int t = 0; t < tiles; ++t) {
    const int pixels = width + (t < wider ? 1 : 0);
    run[pixels - 1](g, x);
    x += pixels;
  }
}

}  // namespace octavo
