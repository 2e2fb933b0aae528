// SPDX-License-Identifier: Apache-2.0
#include "kernels/resize_s8/resize_s8.h"
#include "kernels/simd/requant_avx512.h"

namespace octavo {
namespace {

struct Weights {
  __m512i rows;  // s16 pairs: top, bottom
  __m512i zero_sum;

  explicit Weights(const ResizeS8Args& args)
      : rows(_mm512_set1_epi32(args.bottom_weight << 16 | (kResizeOne - args.bottom_weight))),
        zero_sum(_mm512_set1_epi32(args.zero_sum)) {}
};

// 32 channels of a column, between its two rows. Of every eight, lo has the first four.
struct Column {
  __m512i lo, hi;

  Column(const uint8_t* top, const uint8_t* bottom, __mmask32 mask, const Weights& w) {
    const __m512i t = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, top));
    const __m512i b = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, bottom));
    lo = _mm512_madd_epi16(_mm512_unpacklo_epi16(t, b), w.rows);
    hi = _mm512_madd_epi16(_mm512_unpackhi_epi16(t, b), w.rows);
  }
};

inline __m512i between(__m512i left, __m512i right, __m512i right_weight, const Weights& w) {
  const __m512i step = _mm512_mullo_epi32(_mm512_sub_epi32(right, left), right_weight);
  const __m512i acc = _mm512_add_epi32(_mm512_slli_epi32(left, 11), step);
  return _mm512_sub_epi32(acc, w.zero_sum);
}

template <class Epilogue>
void run(const ResizeS8Args& args) {
  const Epilogue epilogue(args.requant);
  const Weights w(args);
  const __m512 multiplier = _mm512_set1_ps(args.multiplier);
  const __m512 multipliers[2] = {multiplier, multiplier};
  uint8_t* out = args.out;
  for (int x = 0; x < args.out_w; ++x, out += args.out_pixel_stride) {
    const ResizeS8Column& column = args.columns[x];
    const __m512i right_weight = _mm512_set1_epi32(column.right_weight);
    for (int c = 0; c < args.channels; c += 32) {
      const int n = args.channels - c < 32 ? args.channels - c : 32;
      const __mmask32 mask = ~uint32_t{0} >> (32 - n);
      const uint8_t *top = args.top + c, *bottom = args.bottom + c;
      const Column left(top + column.left, bottom + column.left, mask, w);
      const Column right(top + column.right, bottom + column.right, mask, w);
      const __m512i acc[2] = {between(left.lo, right.lo, right_weight, w),
                              between(left.hi, right.hi, right_weight, w)};
      _mm256_mask_storeu_epi8(out + c, mask, epilogue.to_u8(acc, multipliers));
    }
  }
}

}  // namespace

void resize_s8_x32_avx512vnni(const ResizeS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneAvx512>(args);
  }
}

}  // namespace octavo
