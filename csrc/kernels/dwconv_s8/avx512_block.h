// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/simd/requant_avx2.h"
#include "kernels/simd/requant_avx512.h"

// 64 or 32 channels of AVX-512 depthwise convolution. Four rows of bytes are interleaved to dwords
// of four taps of one channel, vpdpbusd's operand; packs and packus undo the order. The 32-channel
// width is for the rest of a layer (all of it at C = 32): a zmm instruction costs two ymm ones on
// Zen 4, so half-empty blocks would cost twice. Masks only for partial blocks: masked byte stores
// are slow there.
namespace octavo {
namespace {

// Both widths' policies for one rounding mode.
struct FloatRneBothWidths {
  explicit FloatRneBothWidths(const Requant& r) : zmm(r), ymm(r) {}
  FloatRneAvx512 zmm;
  FloatRneAvx2 ymm;
};

struct Channels64 {
  using Vector = __m512i;
  static constexpr int kCount = 64;

  static Vector zero() { return _mm512_setzero_si512(); }
  static Vector load(const void* p) { return _mm512_loadu_si512(p); }
  static Vector unpacklo_u8(Vector a, Vector b) { return _mm512_unpacklo_epi8(a, b); }
  static Vector unpackhi_u8(Vector a, Vector b) { return _mm512_unpackhi_epi8(a, b); }
  static Vector unpacklo_u16(Vector a, Vector b) { return _mm512_unpacklo_epi16(a, b); }
  static Vector unpackhi_u16(Vector a, Vector b) { return _mm512_unpackhi_epi16(a, b); }
  static Vector dot(Vector acc, Vector u8, Vector s8) { return _mm512_dpbusd_epi32(acc, u8, s8); }

  template <class Epilogue>
  static void store(const Epilogue& epilogue, const Vector (&acc)[4], const float* scale,
                    uint8_t* out, int n) {
    const __m512 scales[4] = {_mm512_load_ps(scale), _mm512_load_ps(scale + 16),
                              _mm512_load_ps(scale + 32), _mm512_load_ps(scale + 48)};
    const __m512i y_u8x64 = epilogue.zmm.to_u8(acc, scales);
    if (n == kCount) {
      _mm512_storeu_si512(out, y_u8x64);
    } else {
      _mm512_mask_storeu_epi8(out, ~uint64_t{0} >> (64 - n), y_u8x64);
    }
  }
};

struct Channels32 {
  using Vector = __m256i;
  static constexpr int kCount = 32;

  static Vector zero() { return _mm256_setzero_si256(); }
  static Vector load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static Vector unpacklo_u8(Vector a, Vector b) { return _mm256_unpacklo_epi8(a, b); }
  static Vector unpackhi_u8(Vector a, Vector b) { return _mm256_unpackhi_epi8(a, b); }
  static Vector unpacklo_u16(Vector a, Vector b) { return _mm256_unpacklo_epi16(a, b); }
  static Vector unpackhi_u16(Vector a, Vector b) { return _mm256_unpackhi_epi16(a, b); }
  static Vector dot(Vector acc, Vector u8, Vector s8) { return _mm256_dpbusd_epi32(acc, u8, s8); }

  template <class Epilogue>
  static void store(const Epilogue& epilogue, const Vector (&acc)[4], const float* scale,
                    uint8_t* out, int n) {
    // Channels 0..7, 16..23 and 8..15, 24..31.
    const __m128i even =
        epilogue.ymm.to_u8(acc[0], acc[1], _mm256_load_ps(scale), _mm256_load_ps(scale + 8));
    const __m128i odd =
        epilogue.ymm.to_u8(acc[2], acc[3], _mm256_load_ps(scale + 16), _mm256_load_ps(scale + 24));
    const __m256i y_u8x32 = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_unpacklo_epi64(even, odd)), _mm_unpackhi_epi64(even, odd), 1);
    if (n == kCount) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), y_u8x32);
    } else {
      _mm256_mask_storeu_epi8(out, ~uint32_t{0} >> (32 - n), y_u8x32);
    }
  }
};

// What a block of channels needs; `weights` walks on by 4 vectors per group of four taps.
struct Block {
  const int8_t* weights;
  const int32_t* bias;
  const float* scale;
  int c, n;  // first channel; channels, 1..V::kCount

  // To the block that follows one of `count` channels and `groups` groups of taps.
  void advance(int count, int groups) {
    weights += static_cast<ptrdiff_t>(groups) * count * 4;
    bias += count;
    scale += count;
    c += count;
  }
};

template <class V>
inline void load_bias(typename V::Vector (&acc)[4], const Block& b) {
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) acc[q] = V::load(b.bias + q * (V::kCount / 4));
}

template <class V>
inline void interleave(typename V::Vector r0, typename V::Vector r1, typename V::Vector r2,
                       typename V::Vector r3, typename V::Vector (&taps)[4]) {
  const typename V::Vector lo01 = V::unpacklo_u8(r0, r1), hi01 = V::unpackhi_u8(r0, r1);
  const typename V::Vector lo23 = V::unpacklo_u8(r2, r3), hi23 = V::unpackhi_u8(r2, r3);
  taps[0] = V::unpacklo_u16(lo01, lo23);
  taps[1] = V::unpackhi_u16(lo01, lo23);
  taps[2] = V::unpacklo_u16(hi01, hi23);
  taps[3] = V::unpackhi_u16(hi01, hi23);
}

template <class V>
inline void multiply_add(typename V::Vector (&acc)[4], const typename V::Vector (&taps)[4],
                         const int8_t* w) {
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) acc[q] = V::dot(acc[q], taps[q], V::load(w + q * V::kCount));
}

// Calls body(V{}, block) for every block of the layer.
template <class Body>
inline void for_each_block(const DwconvS8Args& args, int groups, const Body& body) {
  Block b{static_cast<const int8_t*>(args.packed.weights), args.packed.bias, args.packed.scale, 0,
          0};
  while (b.c < args.channels) {
    b.n = args.channels - b.c;
    if (b.n > Channels32::kCount) {
      if (b.n > Channels64::kCount) b.n = Channels64::kCount;
      body(Channels64{}, b);
      b.advance(Channels64::kCount, groups);
    } else {
      body(Channels32{}, b);
      b.advance(Channels32::kCount, groups);
    }
  }
}

}  // namespace
}  // namespace octavo
