// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_f32/dwconv_f32.h"
#include "kernels/simd/clamp_f32_avx512.h"
#include "kernels/simd/x86.h"

// As avx2.cc, with 16 channels per vector.
namespace octavo {
namespace {

constexpr int kPixels = 8, kLanes = 16;

template <int P>
inline void tile(const DwconvF32Args& g, ptrdiff_t x) {
  const ClampF32x16 clamp(g.lo, g.hi);
  const ptrdiff_t step = g.stride_x * g.in_pixel_stride;
  const ptrdiff_t tap = g.dilation_x * g.in_pixel_stride;
  const float* w = g.weights;
  for (int c = 0; c < g.channels; c += kLanes) {
    const ptrdiff_t first = x * step + c * ptrdiff_t{sizeof(float)};
    __m512 acc[P];
    const __m512 bias = _mm512_load_ps(g.bias + c);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) acc[p] = bias;
    for (int i = 0; i < g.kh; ++i) {
      const uint8_t* in = g.in_rows[i] + first;
      for (int j = 0; j < g.kw; ++j, in += tap, w += kLanes) {
        const __m512 weight = _mm512_load_ps(w);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
          const __m512 value = _mm512_loadu_ps(reinterpret_cast<const float*>(in + p * step));
          acc[p] = _mm512_fmadd_ps(value, weight, acc[p]);
        }
      }
    }
    uint8_t* out = g.out + x * g.out_pixel_stride;
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      store_f32x16(reinterpret_cast<float*>(out + p * g.out_pixel_stride) + c, clamp(acc[p]),
                   g.channels - c);
    }
  }
}

}  // namespace

// Tiles of nearly equal width: 14 pixels are 7 + 7.
void dwconv_f32_x16_avx512vnni(const DwconvF32Args& g) {
  const int tiles = (g.out_w + kPixels - 1) / kPixels;
  const int width = g.out_w / tiles, wider = g.out_w % tiles;
  ptrdiff_t x = 0;
  for (int t = 0; t < tiles; ++t) {
    const int pixels = width + (t < wider ? 1 : 0);
    switch (pixels) {
      case 1: tile<1>(g, x); break;
      case 2: tile<2>(g, x); break;
      case 3: tile<3>(g, x); break;
      case 4: tile<4>(g, x); break;
      case 5: tile<5>(g, x); break;
      case 6: tile<6>(g, x); break;
      case 7: tile<7>(g, x); break;
      default: tile<8>(g, x); break;
    }
    x += pixels;
  }
}

}  // namespace octavo
