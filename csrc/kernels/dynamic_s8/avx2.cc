// SPDX-License-Identifier: Apache-2.0
#include "kernels/dynamic_s8/dynamic_s8.h"
#include "kernels/simd/clamp_f32_avx2.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

inline __m256i load_s32x8(const int32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// The first n of 8 values behind p, zeros behind them; nothing else is read.
inline __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

struct Channels {  // of up to 8 columns
  __m256i shift;
  __m256 factor, bias;
};

inline Channels channels(const ScaleSumsArgs& args, int32_t c, __m256i lanes) {
  const __m256i sums = _mm256_maskload_epi32(args.weight_sums + c, lanes);
  const __m256 scale = _mm256_maskload_ps(args.weight_scales + c, lanes);
  return {_mm256_mullo_epi32(sums, _mm256_set1_epi32(args.zero_point)),
          _mm256_mul_ps(_mm256_set1_ps(args.x_scale), scale),
          _mm256_maskload_ps(args.bias + c, lanes)};
}

inline __m256 scaled(__m256i sums, const Channels& ch, __m256 lo, __m256 hi) {
  const __m256 acc = _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, ch.shift));
  const __m256 y = _mm256_add_ps(_mm256_mul_ps(acc, ch.factor), ch.bias);
  // vmaxps and vminps return their second operand when the operands are equal
  return _mm256_min_ps(hi, _mm256_max_ps(lo, y));
}

}  // namespace

// vminps and vmaxps return their second operand when one is NaN. Four chains each, since both have
// a latency of 4 cycles at two a cycle on some cores; the least of all does not depend on the
// order.
void range_avx2(RangeArgs& args) {
  __m256 lo[4], hi[4];
  for (int j = 0; j < 4; ++j) {
    lo[j] = _mm256_set1_ps(args.lo);
    hi[j] = _mm256_set1_ps(args.hi);
  }
  const float* in = args.in;
  int64_t left = args.n;
  for (; left >= 32; left -= 32, in += 32) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m256 x = _mm256_loadu_ps(in + 8 * j);
      lo[j] = _mm256_min_ps(x, lo[j]);
      hi[j] = _mm256_max_ps(x, hi[j]);
    }
  }
  for (; left > 0; left -= 8, in += 8) {
    // zeros behind the end change nothing: lo <= 0 <= hi
    const __m256 x = _mm256_maskload_ps(in, first_lanes(left < 8 ? static_cast<int>(left) : 8));
    lo[0] = _mm256_min_ps(x, lo[0]);
    hi[0] = _mm256_max_ps(x, hi[0]);
  }
  alignas(32) float lows[8], highs[8];
  _mm256_store_ps(lows, _mm256_min_ps(_mm256_min_ps(lo[0], lo[1]), _mm256_min_ps(lo[2], lo[3])));
  _mm256_store_ps(highs, _mm256_max_ps(_mm256_max_ps(hi[0], hi[1]), _mm256_max_ps(hi[2], hi[3])));
  for (int j = 0; j < 8; ++j) {
    args.lo = lows[j] < args.lo ? lows[j] : args.lo;
    args.hi = highs[j] > args.hi ? highs[j] : args.hi;
  }
}

void scale_sums_avx2(const ScaleSumsArgs& args) {
  const __m256 lo = _mm256_set1_ps(args.lo), hi = _mm256_set1_ps(args.hi);
  for (int32_t c = 0; c < args.n; c += 8) {
    const int32_t n = args.n - c < 8 ? args.n - c : 8;
    const __m256i lanes = first_lanes(n);
    const Channels ch = channels(args, c, lanes);
    const int32_t* sums = args.sums + c;
    for (int32_t r = 0; r < args.rows; ++r, sums += args.sums_stride) {
      float* out = args.out_rows[r] + args.out_offset + c;
      if (n == 8) {
        _mm256_storeu_ps(out, scaled(load_s32x8(sums), ch, lo, hi));
      } else {
        store_f32x8(out, scaled(_mm256_maskload_epi32(sums, lanes), ch, lo, hi), n);
      }
    }
  }
}

}  // namespace octavo
