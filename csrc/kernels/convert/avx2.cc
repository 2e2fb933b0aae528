// SPDX-License-Identifier: Apache-2.0
#include "kernels/convert/convert.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 32;  // bytes per step of the contiguous kernels
constexpr int32_t kPixels = 8;  // float32 lanes: pixels per step of quantize_chw

// A real division: vdivps bounds these kernels at 8 values per ~5 cycles (Zen 3).
struct Quantizer {
  __m256 scale, hi;
  __m256i zero_point, flip;

  Quantizer(float scale_value, int32_t zp, uint8_t flip_value)
      : scale(_mm256_set1_ps(scale_value)),
        hi(_mm256_set1_ps(static_cast<float>(255 - zp))),
        zero_point(_mm256_set1_epi16(static_cast<short>(zp))),
        flip(_mm256_set1_epi8(static_cast<char>(flip_value))) {}

  // NaN becomes 0 (x ordered with itself is false), +inf is cut to hi, and what lies below int32
  // converts to INT32_MIN, which the saturating packs of narrow() carry to 0.
  __m256i round(__m256 x) const {
    const __m256 number = _mm256_and_ps(x, _mm256_cmp_ps(x, x, _CMP_ORD_Q));
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_div_ps(number, scale), hi));
  }

  // Byte order: lane by lane, 4 values of v0, v1, v2, v3.
  __m256i narrow(__m256i v0, __m256i v1, __m256i v2, __m256i v3) const {
    const __m256i lo16 = _mm256_adds_epi16(_mm256_packs_epi32(v0, v1), zero_point);
    const __m256i hi16 = _mm256_adds_epi16(_mm256_packs_epi32(v2, v3), zero_point);
    return _mm256_xor_si256(_mm256_packus_epi16(lo16, hi16), flip);
  }
};

inline void quantize32(const Quantizer& q, const float* in, uint8_t* out) {
  const __m256i bytes =
      q.narrow(q.round(_mm256_loadu_ps(in)), q.round(_mm256_loadu_ps(in + 8)),
               q.round(_mm256_loadu_ps(in + 16)), q.round(_mm256_loadu_ps(in + 24)));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permutevar8x32_epi32(bytes, order));
}

// One step of quantize_chw: `count` pixels from x on; a short step loads under a mask.
struct Step {
  const QuantizeChwArgs& args;
  const Quantizer& q;
  int32_t x, count;

  __m256i load(int32_t c) const {
    const float* in = args.in + c * args.in_channel_stride + x;
    if (count == kPixels) return q.round(_mm256_loadu_ps(in));
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return q.round(_mm256_maskload_ps(in, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane)));
  }

  // Channels c0..c3 of the 8 pixels, one dword per pixel in pixel order: narrow() leaves a 4 x 4
  // matrix [channel][pixel] in each lane, which is transposed here.
  __m256i load4(int32_t c0, int32_t c1, int32_t c2, int32_t c3) const {
    const __m256i transpose4x4 = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    return _mm256_shuffle_epi8(q.narrow(load(c0), load(c1), load(c2), load(c3)), transpose4x4);
  }

  uint8_t* pixel(int32_t i) const {
    return args.out + static_cast<ptrdiff_t>(x + i) * args.out_pixel_stride;
  }
};

inline void step16(const Step& s, int32_t c) {
  const __m256i g0 = s.load4(c, c + 1, c + 2, c + 3);
  const __m256i g1 = s.load4(c + 4, c + 5, c + 6, c + 7);
  const __m256i g2 = s.load4(c + 8, c + 9, c + 10, c + 11);
  const __m256i g3 = s.load4(c + 12, c + 13, c + 14, c + 15);
  // 4 x 4 transpose of dwords in each lane: 16 channels of pixels i and i + 4.
  const __m256i g01_lo = _mm256_unpacklo_epi32(g0, g1), g01_hi = _mm256_unpackhi_epi32(g0, g1);
  const __m256i g23_lo = _mm256_unpacklo_epi32(g2, g3), g23_hi = _mm256_unpackhi_epi32(g2, g3);
  const __m256i rows[4] = {
      _mm256_unpacklo_epi64(g01_lo, g23_lo), _mm256_unpackhi_epi64(g01_lo, g23_lo),
      _mm256_unpacklo_epi64(g01_hi, g23_hi), _mm256_unpackhi_epi64(g01_hi, g23_hi)};
  for (int32_t i = 0; i < 4; ++i) {
    if (i < s.count) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(s.pixel(i) + c), _mm256_castsi256_si128(rows[i]));
    }
    if (i + 4 < s.count) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(s.pixel(i + 4) + c),
                       _mm256_extracti128_si256(rows[i], 1));
    }
  }
}

// 1 to 4 channels; the planes that are missing repeat the last one and are not stored.
template <int32_t kCount>
inline void step_few(const Step& s, int32_t c) {
  const __m256i bytes =
      s.load4(c, c + (kCount > 1), c + (kCount > 2 ? 2 : kCount - 1), c + kCount - 1);
  alignas(32) uint32_t dwords[kPixels];
  _mm256_store_si256(reinterpret_cast<__m256i*>(dwords), bytes);
  for (int32_t i = 0; i < s.count; ++i) __builtin_memcpy(s.pixel(i) + c, &dwords[i], kCount);
}

// Packed RGB: 8 pixels are 24 contiguous bytes.
inline void step_rgb(const Step& s) {
  const __m256i interleave = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1));
  const __m256i join = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
  const __m256i v2 = s.load(2);
  const __m256i planes = s.q.narrow(s.load(0), s.load(1), v2, v2);
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(planes, interleave), join);
  if (s.count == kPixels) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(s.pixel(0)), _mm256_castsi256_si128(bytes));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(s.pixel(0) + 16),
                     _mm256_extracti128_si256(bytes, 1));
    return;
  }
  alignas(32) uint8_t buffer[kBlock];
  _mm256_store_si256(reinterpret_cast<__m256i*>(buffer), bytes);
  for (int32_t i = 0; i < 3 * s.count; ++i) s.pixel(0)[i] = buffer[i];
}

// Calls step(pixels) for the whole row: full steps with a constant count, then the rest.
template <class StepFn>
inline void for_each_step(const QuantizeChwArgs& args, const Quantizer& q, StepFn step) {
  int32_t x = 0;
  for (; x + kPixels <= args.width; x += kPixels) step(Step{args, q, x, kPixels});
  if (x < args.width) step(Step{args, q, x, args.width - x});
}

}  // namespace

void quantize_avx2(const QuantizeArgs& args) {
  const Quantizer q(args.scale, args.zero_point, args.flip);
  int64_t i = 0;
  for (; i + kBlock <= args.n; i += kBlock) quantize32(q, args.in + i, args.out + i);
  if (i == args.n) return;
  float in[kBlock] = {};
  uint8_t out[kBlock];
  for (int64_t j = i; j < args.n; ++j) in[j - i] = args.in[j];
  quantize32(q, in, out);
  for (int64_t j = i; j < args.n; ++j) args.out[j] = out[j - i];
}

void quantize_chw_avx2(const QuantizeChwArgs& args) {
  if (args.channels == 1 && args.out_pixel_stride == 1) {
    quantize_avx2({args.in, args.out, args.width, args.scale, args.zero_point, args.flip});
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

void dequantize_avx2(const DequantizeArgs& args) {
  const __m256 scale = _mm256_set1_ps(args.scale);
  const __m256i zero_point = _mm256_set1_epi32(args.zero_point);
  const __m128i flip = _mm_set1_epi8(static_cast<char>(args.flip));
  int64_t i = 0;
  for (; i + 8 <= args.n; i += 8) {
    const __m128i in = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(args.in + i));
    const __m256i q = _mm256_cvtepu8_epi32(_mm_xor_si128(in, flip));
    const __m256 x = _mm256_cvtepi32_ps(_mm256_sub_epi32(q, zero_point));
    _mm256_storeu_ps(args.out + i, _mm256_mul_ps(x, scale));
  }
  for (; i < args.n; ++i) {
    args.out[i] = static_cast<float>((args.in[i] ^ args.flip) - args.zero_point) * args.scale;
  }
}

void flip_avx2(const FlipArgs& args) {
  const __m256i bit7 = _mm256_set1_epi8(-128);
  int64_t i = 0;
  for (; i + kBlock <= args.n; i += kBlock) {
    const __m256i in = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(args.in + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(args.out + i), _mm256_xor_si256(in, bit7));
  }
  for (; i < args.n; ++i) args.out[i] = args.in[i] ^ 0x80;
}

}  // namespace octavo
