// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/simd/requant_avx2.h"
#include "kernels/simd/x86.h"

// 4x16: 8 accumulators + 2 B + 1 A + ones + 1 temporary = 13 of 16 registers. A wider tile gains
// nothing: per k4 step the 16 multiplies on two ports take 8 cycles, the 6 loads only 3.
namespace octavo {
namespace {

constexpr int kMr = 4;
constexpr int kNr = 16;

inline __m256i broadcast_k4(const uint8_t* a) {
  int32_t k4;
  std::memcpy(&k4, a, sizeof k4);
  return _mm256_set1_epi32(k4);
}

inline __m256i load_s8x32(const int8_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
inline __m256i load_s16x16(const int16_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
inline __m256i load_s32x8(const int32_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}

// Makes the compiler add products in program order. Without it clang starts all multiplies of a
// step before their additions, and gcc those of a wide step; both spill for it.
inline void keep_in_order(__m256i& acc) { __asm__ volatile("" : "+x"(acc)); }

// Steps whose pairs cannot saturate: 8 * (vpmaddubsw + vpmaddwd + vpaddd), 32 MAC per cycle.
template <int MR>
inline void accumulate_steps(const GemmS8Block& block, const uint8_t* const* a,
                             __m256i (&acc)[MR][2]) {
  const __m256i ones_s16x16 = _mm256_set1_epi16(1);
  const int8_t* b = block.weights;
  const int32_t* offset = block.step_offset;
  for (const int32_t* end = offset + block.step_count; offset != end; ++offset, b += kNr * 4) {
    const __m256i b_s8x32[2] = {load_s8x32(b), load_s8x32(b + 32)};
    const ptrdiff_t k = *offset;
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      const __m256i a_u8x32 = broadcast_k4(a[i] + k);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m256i pairs_s16x16 = _mm256_maddubs_epi16(a_u8x32, b_s8x32[j]);
        const __m256i dot_s32x8 = _mm256_madd_epi16(pairs_s16x16, ones_s16x16);
        acc[i][j] = _mm256_add_epi32(acc[i][j], dot_s32x8);
#if defined(__clang__)  // gcc does not spill here, and is 1.5 % faster if left alone
        keep_in_order(acc[i][j]);
#endif
      }
    }
  }
}

// All other steps, exact for any 9-bit weight: (a0, a2) and (a1, a3) as s16. 16 multiplies, 16
// additions and 8 to split A on four ports make 10 cycles: at most 25.6 MAC per cycle.
template <int MR>
inline void accumulate_wide_steps(const GemmS8Block& block, const uint8_t* const* a,
                                  __m256i (&acc)[MR][2]) {
  const __m256i low_bytes = _mm256_set1_epi16(0x00ff);
  const int16_t* b = block.wide_weights;
  const int32_t* offset = block.wide_offset;
  for (const int32_t* end = offset + block.wide_count; offset != end; ++offset, b += kNr * 4) {
    const ptrdiff_t k = *offset;
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      const __m256i a_u8x32 = broadcast_k4(a[i] + k);
      const __m256i even_s16x16 = _mm256_and_si256(a_u8x32, low_bytes);
      const __m256i odd_s16x16 = _mm256_srli_epi16(a_u8x32, 8);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m256i even = _mm256_madd_epi16(even_s16x16, load_s16x16(b + 16 * j));
        const __m256i odd = _mm256_madd_epi16(odd_s16x16, load_s16x16(b + 32 + 16 * j));
        acc[i][j] = _mm256_add_epi32(_mm256_add_epi32(acc[i][j], even), odd);
        keep_in_order(acc[i][j]);
      }
    }
  }
}

// The first n bytes. Not inlined: the tile would get a stack frame for the bounce buffer.
__attribute__((noinline)) void store_columns(uint8_t* c, __m128i y_u8x16, int n) {
  alignas(16) uint8_t bounce[kNr];
  _mm_store_si128(reinterpret_cast<__m128i*>(bounce), y_u8x16);
  std::memcpy(c, bounce, static_cast<size_t>(n));
}

template <int MR, class Epilogue>
inline void tile(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                 const Epilogue* epilogue) {
  const uint8_t* a[MR];
  __m256i acc[MR][2];
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
    a[i] = args.a_rows[row + i] + args.a_offset;
    acc[i][0] = load_s32x8(block.bias);
    acc[i][1] = load_s32x8(block.bias + 8);
  }
  accumulate_steps<MR>(block, a, acc);
  accumulate_wide_steps<MR>(block, a, acc);

  // Hides where the pointer comes from: gcc would load the epilogue's constants before the k-loops
  // and spill in them.
  __asm__("" : "+r"(epilogue));
  const __m256 scale_lo = _mm256_load_ps(block.scale);
  const __m256 scale_hi = _mm256_load_ps(block.scale + 8);
  __m128i y_u8x16[MR];
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
    y_u8x16[i] = epilogue->to_u8(acc[i][0], acc[i][1], scale_lo, scale_hi);
  }
  uint8_t* const* c = args.c_rows + row;
  if (__builtin_expect(block.n == kNr, 1)) {
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(c[i] + column), y_u8x16[i]);
    }
  } else {
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) store_columns(c[i] + column, y_u8x16[i], block.n);
  }
}

template <class Epilogue>
void run(const GemmS8Args& args) {
  const Epilogue epilogue(args.requant);
  for (int j = args.block_begin; j < args.block_end; ++j) {
    const GemmS8Block& block = args.blocks[j];
    const ptrdiff_t column = args.c_offset + static_cast<ptrdiff_t>(j) * kNr;
    int i = 0;
    for (; i + kMr / 2 < args.m; i += kMr) tile<kMr>(args, block, i, column, &epilogue);
    if (i + 1 == args.m) {  // a vector times a matrix must not cost four
      tile<1>(args, block, i, column, &epilogue);
    } else if (i < args.m) {
      tile<kMr / 2>(args, block, i, column, &epilogue);
    }
  }
}

}  // namespace

void gemm_s8_4x16c4_avx2(const GemmS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneAvx2>(args);
  }
}

}  // namespace octavo
