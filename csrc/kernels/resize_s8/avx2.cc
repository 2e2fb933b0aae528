// SPDX-License-Identifier: Apache-2.0
#include "kernels/resize_s8/resize_s8.h"
#include "kernels/simd/partial_u8.h"
#include "kernels/simd/requant_avx2.h"

namespace octavo {
namespace {

struct Weights {
  __m256i rows;  // s16 pairs: top, bottom
  __m256i zero_sum;
  __m256 multiplier;

  explicit Weights(const ResizeS8Args& args)
      : rows(_mm256_set1_epi32(args.bottom_weight << 16 | (kResizeOne - args.bottom_weight))),
        zero_sum(_mm256_set1_epi32(args.zero_sum)),
        multiplier(_mm256_set1_ps(args.multiplier)) {}
};

// 16 channels of a column, between its two rows. lo: channels 0..3, 8..11; hi: 4..7, 12..15.
struct Column {
  __m256i lo, hi;

  Column(const uint8_t* top, const uint8_t* bottom, int n, const Weights& w) {
    const __m256i t = _mm256_cvtepu8_epi16(load_u8x16(top, n));
    const __m256i b = _mm256_cvtepu8_epi16(load_u8x16(bottom, n));
    lo = _mm256_madd_epi16(_mm256_unpacklo_epi16(t, b), w.rows);
    hi = _mm256_madd_epi16(_mm256_unpackhi_epi16(t, b), w.rows);
  }
};

inline __m256i between(__m256i left, __m256i right, __m256i right_weight, const Weights& w) {
  const __m256i step = _mm256_mullo_epi32(_mm256_sub_epi32(right, left), right_weight);
  const __m256i acc = _mm256_add_epi32(_mm256_slli_epi32(left, 11), step);
  return _mm256_sub_epi32(acc, w.zero_sum);
}

template <class Epilogue>
void run(const ResizeS8Args& args) {
  const Epilogue epilogue(args.requant);
  const Weights w(args);
  uint8_t* out = args.out;
  for (int x = 0; x < args.out_w; ++x, out += args.out_pixel_stride) {
    const ResizeS8Column& column = args.columns[x];
    const __m256i right_weight = _mm256_set1_epi32(column.right_weight);
    for (int c = 0; c < args.channels; c += 16) {
      const int n = args.channels - c < 16 ? args.channels - c : 16;
      const uint8_t *top = args.top + c, *bottom = args.bottom + c;
      const Column left(top + column.left, bottom + column.left, n, w);
      const Column right(top + column.right, bottom + column.right, n, w);
      const __m256i lo = between(left.lo, right.lo, right_weight, w);
      const __m256i hi = between(left.hi, right.hi, right_weight, w);
      store_u8x16(out + c, epilogue.to_u8(lo, hi, w.multiplier, w.multiplier), n);
    }
  }
}

}  // namespace

void resize_s8_x16_avx2(const ResizeS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneAvx2>(args);
  }
}

}  // namespace octavo
