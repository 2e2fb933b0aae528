// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/gemm_s8/keep_sums.h"
#include "kernels/simd/requant_avx2.h"
#include "kernels/simd/x86.h"

// 4x16: 8 accumulators + 2 A + ones + 2 temporaries = 13 of 16 registers, weights from memory. 8x8
// would pair more steps, but broadcasts twice as often and is 3 to 14 % slower per step.
namespace octavo {
namespace {

constexpr int kMr = 4;
constexpr int kNr = 16;

inline __m256i broadcast_k4(const uint8_t* a) {
  int32_t k4;
  std::memcpy(&k4, a, sizeof k4);
  return _mm256_set1_epi32(k4);
}

inline __m256i load_x32(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }
inline __m256i load_s32x8(const int32_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}

// Makes clang add products in program order. It would start all multiplies of a step before their
// additions, and spill. gcc does not, and is 2 % faster if left alone.
inline void keep_in_order([[maybe_unused]] __m256i& acc) {
#if defined(__clang__)
  __asm__ volatile("" : "+x"(acc));
#endif
}

// gcc keeps every weight vector it has seen in a register, and spills. It cannot know that what
// lies behind a forgotten pointer is the same, so it loads it again.
inline void forget([[maybe_unused]] const uint8_t*& p) {
#if !defined(__clang__)
  __asm__("" : "+r"(p));
#endif
}

// Widens 16 int16 sums of products to 8 int32.
inline __m256i add_dot(__m256i acc, __m256i sums_s16x16) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(sums_s16x16, _mm256_set1_epi16(1)));
}

// Two steps per iteration: 24 multiplies on two ports for 512 MAC, at most 42.7 MAC per cycle.
template <int MR>
inline void accumulate_pairs(const GemmS8Block& block, const uint8_t* const* a,
                             __m256i (&acc)[MR][2]) {
  const int8_t* b = block.weights;
  const int32_t* offset = block.step_offset;
  for (const int32_t* end = offset + block.step_count; offset != end; offset += 2, b += kNr * 8) {
    const ptrdiff_t k0 = offset[0], k1 = offset[1];
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      const __m256i a0_u8x32 = broadcast_k4(a[i] + k0);
      const __m256i a1_u8x32 = broadcast_k4(a[i] + k1);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m256i step0_s16x16 = _mm256_maddubs_epi16(a0_u8x32, load_x32(b + 32 * j));
        const __m256i step1_s16x16 = _mm256_maddubs_epi16(a1_u8x32, load_x32(b + 64 + 32 * j));
        acc[i][j] = add_dot(acc[i][j], _mm256_add_epi16(step0_s16x16, step1_s16x16));
        keep_in_order(acc[i][j]);
      }
    }
  }
}

// |w| * (A ^ mask) of one step and one half of its columns.
inline __m256i multiply_flipped(__m256i a_u8x32, const uint8_t* b) {
  return _mm256_maddubs_epi16(load_x32(b), _mm256_xor_si256(a_u8x32, load_x32(b + kNr * 4)));
}

// 56 vector operations on four ports for 512 MAC: at most 36.6 MAC per cycle.
template <int MR>
inline void accumulate_flipped_pairs(const GemmS8Block& block, const uint8_t* const* a,
                                     __m256i (&acc)[MR][2]) {
  const uint8_t* b = block.flipped_weights;
  const int32_t* offset = block.flipped_offset;
  for (const int32_t* end = offset + 2 * block.flipped_pairs; offset != end;
       offset += 2, b += kNr * 16) {
    const ptrdiff_t k0 = offset[0], k1 = offset[1];
    const uint8_t* last = b + kNr * 8 + 32;  // the fourth weight vector is one too many
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      const __m256i a0_u8x32 = broadcast_k4(a[i] + k0);
      const __m256i a1_u8x32 = broadcast_k4(a[i] + k1);
      forget(last);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m256i step0_s16x16 = multiply_flipped(a0_u8x32, b + 32 * j);
        const __m256i step1_s16x16 = multiply_flipped(a1_u8x32, j == 0 ? b + kNr * 8 : last);
        acc[i][j] = add_dot(acc[i][j], _mm256_add_epi16(step0_s16x16, step1_s16x16));
        keep_in_order(acc[i][j]);
      }
    }
  }
}

// What found no partner: 32 vector operations on four ports, at most 32 MAC per cycle.
template <int MR>
inline void accumulate_flipped_alone(const GemmS8Block& block, const uint8_t* const* a,
                                     __m256i (&acc)[MR][2]) {
  const uint8_t* b = block.flipped_weights + ptrdiff_t{2} * block.flipped_pairs * kNr * 8;
  const int32_t* offset = block.flipped_offset + 2 * block.flipped_pairs;
  const int32_t* end = block.flipped_offset + block.flipped_count;
  for (; offset != end; ++offset, b += kNr * 8) {
    const ptrdiff_t k = *offset;
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      const __m256i a_u8x32 = broadcast_k4(a[i] + k);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        acc[i][j] = add_dot(acc[i][j], multiply_flipped(a_u8x32, b + 32 * j));
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

template <int MR>
inline void store(const GemmS8Args& args, const GemmS8Block&, int row, ptrdiff_t column,
                  const __m256i (&acc)[MR][2], const KeepSums*) {
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
    int32_t* sums = args.sum_rows[row + i] + column;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), acc[i][0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + 8), acc[i][1]);
  }
}

template <int MR>
inline void store(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                  const __m256i (&acc)[MR][2], const FloatRneAvx2* epilogue) {
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
  accumulate_pairs<MR>(block, a, acc);
  accumulate_flipped_pairs<MR>(block, a, acc);
  accumulate_flipped_alone<MR>(block, a, acc);
  store(args, block, row, column, acc, epilogue);
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
  if (args.sum_rows != nullptr) return run<KeepSums>(args);
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneAvx2>(args);
  }
}

}  // namespace octavo
