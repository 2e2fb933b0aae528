// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/gemm_s16/gemm_s16.h"
#include "kernels/simd/x86.h"

// 4x16: 8 accumulators + 2 weights + 2 of A. vpmaddwd multiplies a pair exactly; int32 sums of as
// many pairs as surely fit are added to the int64 ones in memory.
namespace octavo {
namespace {

constexpr int kMr = 4;
constexpr int kNr = 16;

inline __m256i broadcast_pair(const int16_t* a) {
  int32_t pair;
  std::memcpy(&pair, a, sizeof pair);
  return _mm256_set1_epi32(pair);
}

inline __m256i load(const int16_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}

inline void add_to(int64_t* sums, __m256i acc_s32x8) {
  const __m128i halves[2] = {_mm256_castsi256_si128(acc_s32x8),
                             _mm256_extracti128_si256(acc_s32x8, 1)};
  for (int h = 0; h < 2; ++h) {
    __m256i* at = reinterpret_cast<__m256i*>(sums + 4 * h);
    _mm256_storeu_si256(at,
                        _mm256_add_epi64(_mm256_loadu_si256(at), _mm256_cvtepi32_epi64(halves[h])));
  }
}

template <int MR>
inline void tile(const GemmS16Args& args, int32_t row) {
  const int16_t* a[MR];
  int64_t* sums = args.sums + ptrdiff_t{row} * kNr;
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) a[i] = args.a_rows[row + i] + args.a_offset;
  std::memset(sums, 0, sizeof(int64_t) * MR * kNr);
  const int16_t* w = args.weights;
  for (int32_t p = 0; p < args.pairs;) {
    const int32_t left = args.pairs - p;
    const int32_t end = p + (left < args.pairs_per_sum ? left : args.pairs_per_sum);
    __m256i acc[MR][2];
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) acc[i][0] = acc[i][1] = _mm256_setzero_si256();
    for (; p < end; ++p, w += kNr * 2) {
      const ptrdiff_t k = args.pair_offset[p];
      const __m256i w0 = load(w), w1 = load(w + kNr);
#pragma GCC unroll 4
      for (int i = 0; i < MR; ++i) {
        const __m256i pair = broadcast_pair(a[i] + k);
        acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(pair, w0));
        acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(pair, w1));
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      add_to(sums + i * kNr, acc[i][0]);
      add_to(sums + i * kNr + 8, acc[i][1]);
    }
  }
}

}  // namespace

void gemm_s16_4x16_avx2(const GemmS16Args& args) {
  int32_t i = 0;
  for (; i + kMr <= args.m; i += kMr) tile<kMr>(args, i);
  for (; i < args.m; ++i) tile<1>(args, i);
}

}  // namespace octavo
