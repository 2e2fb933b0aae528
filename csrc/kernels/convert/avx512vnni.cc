// SPDX-License-Identifier: Apache-2.0
#include "kernels/convert/convert.h"
#include "kernels/simd/widen_narrow_avx512.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 64;   // bytes per step of the contiguous kernels
constexpr int32_t kPixels = 16;  // float32 lanes: pixels per step of quantize_chw

struct Quantizer {
  __m512 scale, hi;
  __m512i zero_point, flip;

  Quantizer(float scale_value, int32_t zp, uint8_t flip_value)
      : scale(_mm512_set1_ps(scale_value)),
        hi(_mm512_set1_ps(static_cast<float>(255 - zp))),
        zero_point(_mm512_set1_epi16(static_cast<short>(zp))),
        flip(_mm512_set1_epi8(static_cast<char>(flip_value))) {}

  // The masked move turns NaN into 0; +inf is cut to hi; what lies below int32 converts to
  // INT32_MIN, which the saturating packs of narrow() carry to 0.
  __m512i round(__m512 x) const {
    const __m512 number = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, x, _CMP_ORD_Q), x);
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_div_ps(number, scale), hi));
  }

  __m512i load(const float* in, __mmask16 lanes) const {
    return round(_mm512_maskz_loadu_ps(lanes, in));
  }

  // Byte order: 128-bit lane by lane, 4 values of v0, v1, v2, v3.
  __m512i narrow(__m512i v0, __m512i v1, __m512i v2, __m512i v3) const {
    const __m512i lo16 = _mm512_adds_epi16(_mm512_packs_epi32(v0, v1), zero_point);
    const __m512i hi16 = _mm512_adds_epi16(_mm512_packs_epi32(v2, v3), zero_point);
    return _mm512_xor_si512(_mm512_packus_epi16(lo16, hi16), flip);
  }
};

// One step of quantize_chw: `count` <= 16 pixels from x on; masks cut a short step.
struct Step {
  const QuantizeChwArgs& args;
  const Quantizer& q;
  int32_t x, count;

  __m512i load(int32_t c) const {
    return q.load(args.in + c * args.in_channel_stride + x, low_lanes16(count));
  }

  // Channels c0..c3 of the 16 pixels, one dword per pixel in pixel order: narrow() leaves a 4 x 4
  // matrix [channel][pixel] in each 128-bit lane, which is transposed here.
  __m512i load4(int32_t c0, int32_t c1, int32_t c2, int32_t c3) const {
    const __m512i transpose4x4 =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    return _mm512_shuffle_epi8(q.narrow(load(c0), load(c1), load(c2), load(c3)), transpose4x4);
  }

  uint8_t* pixel(int32_t i) const {
    return args.out + static_cast<ptrdiff_t>(x + i) * args.out_pixel_stride;
  }

  void store16(int32_t i, int32_t c, __m128i channels) const {
    if (i < count) _mm_storeu_si128(reinterpret_cast<__m128i*>(pixel(i) + c), channels);
  }
};

inline void step16(const Step& s, int32_t c) {
  const __m512i g0 = s.load4(c, c + 1, c + 2, c + 3);
  const __m512i g1 = s.load4(c + 4, c + 5, c + 6, c + 7);
  const __m512i g2 = s.load4(c + 8, c + 9, c + 10, c + 11);
  const __m512i g3 = s.load4(c + 12, c + 13, c + 14, c + 15);
  // 4 x 4 transpose of dwords in each lane: 16 channels of pixels i, i + 4, i + 8 and i + 12.
  const __m512i g01_lo = _mm512_unpacklo_epi32(g0, g1), g01_hi = _mm512_unpackhi_epi32(g0, g1);
  const __m512i g23_lo = _mm512_unpacklo_epi32(g2, g3), g23_hi = _mm512_unpackhi_epi32(g2, g3);
  const __m512i rows[4] = {
      _mm512_unpacklo_epi64(g01_lo, g23_lo), _mm512_unpackhi_epi64(g01_lo, g23_lo),
      _mm512_unpacklo_epi64(g01_hi, g23_hi), _mm512_unpackhi_epi64(g01_hi, g23_hi)};
  for (int32_t i = 0; i < 4; ++i) {
    s.store16(i, c, _mm512_castsi512_si128(rows[i]));
    s.store16(i + 4, c, _mm512_extracti32x4_epi32(rows[i], 1));
    s.store16(i + 8, c, _mm512_extracti32x4_epi32(rows[i], 2));
    s.store16(i + 12, c, _mm512_extracti32x4_epi32(rows[i], 3));
  }
}

// 1 to 4 channels; the planes that are missing repeat the last one and are not stored.
template <int32_t kCount>
inline void step_few(const Step& s, int32_t c) {
  const __m512i bytes =
      s.load4(c, c + (kCount > 1), c + (kCount > 2 ? 2 : kCount - 1), c + kCount - 1);
  alignas(64) uint32_t dwords[kPixels];
  _mm512_store_si512(dwords, bytes);
  for (int32_t i = 0; i < s.count; ++i) __builtin_memcpy(s.pixel(i) + c, &dwords[i], kCount);
}

// Packed RGB: 16 pixels are 48 contiguous bytes.
inline void step_rgb(const Step& s) {
  const __m512i interleave =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1));
  const __m512i join = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
  const __m512i v2 = s.load(2);
  const __m512i planes = s.q.narrow(s.load(0), s.load(1), v2, v2);
  const __m512i bytes = _mm512_permutexvar_epi32(join, _mm512_shuffle_epi8(planes, interleave));
  _mm512_mask_storeu_epi8(s.pixel(0), low_lanes64(3 * s.count), bytes);
}

// Calls step(pixels) for the whole row: full steps with a constant count, then the rest.
template <class StepFn>
inline void for_each_step(const QuantizeChwArgs& args, const Quantizer& q, StepFn step) {
  int32_t x = 0;
  for (; x + kPixels <= args.width; x += kPixels) step(Step{args, q, x, kPixels});
  if (x < args.width) step(Step{args, q, x, args.width - x});
}

}  // namespace

void quantize_avx512vnni(const QuantizeArgs& args) {
  const Quantizer q(args.scale, args.zero_point, args.flip);
  for (int64_t i = 0; i < args.n; i += kBlock) {
    const float* in = args.in + i;
    const int64_t left = args.n - i;
    __m512i v[4];
    for (int k = 0; k < 4; ++k) {
      const int64_t lanes = left - 16 * k;
      v[k] = lanes > 0 ? q.load(in + 16 * k, low_lanes16(lanes)) : _mm512_setzero_si512();
    }
    const __m512i bytes = sequential_u8x64(q.narrow(v[0], v[1], v[2], v[3]));
    _mm512_mask_storeu_epi8(args.out + i, low_lanes64(left), bytes);
  }
}

void quantize_chw_avx512vnni(const QuantizeChwArgs& args) {
  if (args.channels == 1 && args.out_pixel_stride == 1) {
    quantize_avx512vnni({args.in, args.out, args.width, args.scale, args.zero_point, args.flip});
    return;
  }
  const Quantizer q(args.scale, args.zero_point, args.flip);
  if (args.channels == 3 && args.out_pixel_stride == 3) {
    for_each_step(args, q, [](const Step& s) { step_rgb(s); });
    return;
  }
  int32_t c = 0;
  for (; c + 16 <= args.channels; c += 16) {
    for_each_step(args, q, [c](const Step& s) { step16(s, c); });
  }
  for (; c < args.channels; c += 4) {
    for_each_step(args, q, [c, few = args.channels - c](const Step& s) {
      switch (few) {
        case 1: return step_few<1>(s, c);
        case 2: return step_few<2>(s, c);
        case 3: return step_few<3>(s, c);
        default: return step_few<4>(s, c);
      }
    });
  }
}

void dequantize_avx512vnni(const DequantizeArgs& args) {
  const __m512 scale = _mm512_set1_ps(args.scale);
  const __m512i zero_point = _mm512_set1_epi32(args.zero_point);
  const __m128i flip = _mm_set1_epi8(static_cast<char>(args.flip));
  for (int64_t i = 0; i < args.n; i += 16) {
    const __mmask16 lanes = low_lanes16(args.n - i);
    const __m128i in = _mm_maskz_loadu_epi8(lanes, args.in + i);
    const __m512i q = _mm512_cvtepu8_epi32(_mm_xor_si128(in, flip));
    const __m512 x = _mm512_cvtepi32_ps(_mm512_sub_epi32(q, zero_point));
    _mm512_mask_storeu_ps(args.out + i, lanes, _mm512_mul_ps(x, scale));
  }
}

void flip_avx512vnni(const FlipArgs& args) {
  const __m512i bit7 = _mm512_set1_epi8(-128);
  for (int64_t i = 0; i < args.n; i += kBlock) {
    const __mmask64 lanes = low_lanes64(args.n - i);
    const __m512i in = _mm512_maskz_loadu_epi8(lanes, args.in + i);
    _mm512_mask_storeu_epi8(args.out + i, lanes, _mm512_xor_si512(in, bit7));
  }
}

}  // namespace octavo
