// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/gemm_s8/keep_sums.h"
#include "kernels/simd/partial_u8.h"
#include "kernels/simd/requant_avx2.h"
#include "kernels/simd/x86.h"

// A vector times a matrix uses every weight once, so the memory that holds them sets the pace: one
// byte per weight, in one stream. Both operands are widened to int16, where nothing can saturate:
// no flipped steps with twice the bytes, and one loop. A step is 4 k of 4 columns per vector:
// vpmaddwd leaves two sums per column, joined at the end.
namespace octavo {
namespace {

constexpr int kNr = 32;
constexpr int kVectors = kNr / 4;
constexpr int kStepBytes = kNr * 4;
// The only distance tried.
constexpr int kPrefetchBytes = 16 * kStepBytes;

inline __m128i load_x16(const void* p) { return _mm_load_si128(static_cast<const __m128i*>(p)); }

// Four bytes of A as int16, in every 64 bits.
inline __m256i broadcast_k4(const uint8_t* a) {
  int32_t k4;
  std::memcpy(&k4, a, sizeof k4);
  return _mm256_cvtepu8_epi16(_mm_set1_epi32(k4));
}

inline void accumulate(const GemmS8Block& block, const uint8_t* a, __m256i (&acc)[kVectors]) {
  const int8_t* b = block.weights;
  const int32_t* offset = block.step_offset;
  for (const int32_t* end = offset + block.step_count; offset != end; ++offset, b += kStepBytes) {
    _mm_prefetch(reinterpret_cast<const char*>(b + kPrefetchBytes), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(b + kPrefetchBytes + 64), _MM_HINT_T0);
    const __m256i a_s16x16 = broadcast_k4(a + *offset);
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      const __m256i w_s16x16 = _mm256_cvtepi8_epi16(load_x16(b + 16 * j));
      acc[j] = _mm256_add_epi32(acc[j], _mm256_madd_epi16(w_s16x16, a_s16x16));
    }
  }
}

// Scales in the order that _mm256_hadd_epi32 leaves columns in: 0 1 4 5 2 3 6 7.
inline __m256 load_scale(const float* scale) {
  const __m256d pairs = _mm256_castps_pd(_mm256_load_ps(scale));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8));
}

inline void store(const GemmS8Args& args, const GemmS8Block&, int row, ptrdiff_t column,
                  const __m256i (&acc)[kVectors], const KeepSums&) {
  int32_t* out = args.sum_rows[row] + column;
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; j += 2) {
    const __m256i sums = _mm256_permute4x64_epi64(_mm256_hadd_epi32(acc[j], acc[j + 1]), 0xd8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 4 * j), sums);
  }
}

inline void store(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                  const __m256i (&acc)[kVectors], const FloatRneAvx2& epilogue) {
  uint8_t* c = args.c_rows[row] + column;
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const __m256i* sums = acc + 4 * half;
    const __m128i y_u8x16 = epilogue.to_u8(
        _mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]),
        load_scale(block.scale + 16 * half), load_scale(block.scale + 16 * half + 8));
    const int n = block.n - 16 * half;
    if (n > 0) store_u8x16(c + 16 * half, y_u8x16, n < 16 ? n : 16);
  }
}

template <class Epilogue>
inline void tile(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                 const Epilogue& epilogue) {
  __m256i acc[kVectors];
#pragma GCC unroll 8
  for (int j = 0; j < kVectors; ++j) acc[j] = _mm256_cvtepu32_epi64(load_x16(block.bias + 4 * j));
  accumulate(block, args.a_rows[row] + args.a_offset, acc);
  store(args, block, row, column, acc, epilogue);
}

template <class Epilogue>
void run(const GemmS8Args& args) {
  const Epilogue epilogue(args.requant);
  for (int j = args.block_begin; j < args.block_end; ++j) {
    const ptrdiff_t column = args.c_offset + static_cast<ptrdiff_t>(j) * kNr;
    for (int i = 0; i < args.m; ++i) tile(args, args.blocks[j], i, column, epilogue);
  }
}

}  // namespace

void gemm_s8_1x32c4_avx2(const GemmS8Args& args) {
  if (args.sum_rows != nullptr) return run<KeepSums>(args);
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneAvx2>(args);
  }
}

}  // namespace octavo
