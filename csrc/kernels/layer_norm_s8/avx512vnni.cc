// SPDX-License-Identifier: Apache-2.0
#include "kernels/layer_norm_s8/layer_norm_s8.h"
#include "kernels/simd/widen_narrow_avx512.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 64;

// Bytes past the row become the zero point, which adds nothing to a sum.
inline __m512i load_row(const LayerNormS8Args& args, int64_t i) {
  const __m512i fill = _mm512_set1_epi8(static_cast<char>(args.in_zero_point));
  return _mm512_mask_loadu_epi8(fill, low_lanes64(args.n - i), args.in + i);
}

int64_t total(__m512i v) {
  alignas(64) int32_t lanes[16];
  _mm512_store_si512(lanes, v);
  int64_t result = 0;
  for (const int32_t lane : lanes) result += lane;
  return result;
}

// 16 int32 lanes each: a lane's squares stay below 2^31, as n <= 2^15 and d^2 < 2^16.
struct Sums {
  __m512i sum = _mm512_setzero_si512(), squares = _mm512_setzero_si512();
  __m512i zero_point;

  explicit Sums(uint8_t z) : zero_point(_mm512_set1_epi16(z)) {}

  void add(__m512i q) {
    add_s16(_mm512_unpacklo_epi8(q, _mm512_setzero_si512()));
    add_s16(_mm512_unpackhi_epi8(q, _mm512_setzero_si512()));
  }
  void add_s16(__m512i q) {
    const __m512i d = _mm512_sub_epi16(q, zero_point);
    sum = _mm512_dpwssd_epi32(sum, d, _mm512_set1_epi16(1));
    squares = _mm512_dpwssd_epi32(squares, d, d);
  }
};

// Four values of each of four groups 16 apart: the lanes of WidenU8x64.
inline __m512 load_quarters(const float* p) {
  __m512 v = _mm512_castps128_ps512(_mm_load_ps(p));
  v = _mm512_insertf32x4(v, _mm_load_ps(p + 16), 1);
  v = _mm512_insertf32x4(v, _mm_load_ps(p + 32), 2);
  return _mm512_insertf32x4(v, _mm_load_ps(p + 48), 3);
}

struct Normalize {
  __m512 n, sum, factor;
  WidenU8x64 widen;
  NarrowU8x64 narrow;

  Normalize(const LayerNormS8Args& args, const LayerNormRow& row)
      : n(_mm512_set1_ps(row.n)),
        sum(_mm512_set1_ps(row.sum)),
        factor(_mm512_set1_ps(row.factor)),
        widen(args.in_zero_point),
        narrow(args.requant) {}

  __m512 value(__m512 d, const float* gain, const float* shift) const {
    const __m512 scaled = _mm512_mul_ps(_mm512_sub_ps(_mm512_mul_ps(n, d), sum), factor);
    return _mm512_add_ps(_mm512_mul_ps(scaled, load_quarters(gain)), load_quarters(shift));
  }

  __m512i operator()(__m512i q, const float* gain, const float* shift) const {
    const F32x64 d = widen(q);
    return narrow({value(d.v0, gain, shift), value(d.v1, gain + 4, shift + 4),
                   value(d.v2, gain + 8, shift + 8), value(d.v3, gain + 12, shift + 12)});
  }
};

}  // namespace

void layer_norm_s8_x64_avx512vnni(const LayerNormS8Args& args) {
  Sums sums(args.in_zero_point);
  for (int64_t i = 0; i < args.n; i += kBlock) sums.add(load_row(args, i));
  const LayerNormRow row(args, total(sums.sum), total(sums.squares));
  const Normalize normalize(args, row);
  for (int64_t i = 0; i < args.n; i += kBlock) {
    const __m512i y = normalize(load_row(args, i), args.gain + i, args.shift + i);
    _mm512_mask_storeu_epi8(args.out + i, low_lanes64(args.n - i), y);
  }
}

}  // namespace octavo
