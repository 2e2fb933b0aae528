// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/gemm_s8/keep_sums.h"
#include "kernels/simd/partial_u8.h"
#include "kernels/simd/requant_avx2.h"
#include "kernels/simd/x86.h"

// 6x16: 12 accumulators + 2 B + 1 A = 15 of 16 registers. vpdpbusd has latency 5 at two per cycle,
// so 12 chains keep both ports busy; a step takes 9 loads in 6 cycles.
namespace octavo {
namespace {

constexpr int kMr = 6;
constexpr int kNr = 16;
constexpr int kStepBytes = kNr * 4;

// int32 lanes, so that gcc 12 keeps each accumulator once (see avx512vnni.cc).
using S32x8 = int32_t __attribute__((vector_size(32)));

inline S32x8 dpbusd(S32x8 acc, __m256i a_u8x32, __m256i b_s8x32) {
  return reinterpret_cast<S32x8>(
      _mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(acc), a_u8x32, b_s8x32));
}

inline __m256i broadcast_k4(const uint8_t* a) {
  int32_t k4;
  std::memcpy(&k4, a, sizeof k4);
  return _mm256_set1_epi32(k4);
}

inline __m256i load_x32(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }

template <int MR>
inline void accumulate(const GemmS8Block& block, const uint8_t* const* a, S32x8 (&acc)[MR][2]) {
  const int8_t* b = block.weights;
  const int32_t* offset = block.step_offset;
  for (const int32_t* end = offset + block.step_count; offset != end; ++offset, b += kStepBytes) {
    const ptrdiff_t k = *offset;
    const __m256i b_s8x32[2] = {load_x32(b), load_x32(b + 32)};
#pragma GCC unroll 6
    for (int i = 0; i < MR; ++i) {
      const __m256i a_u8x32 = broadcast_k4(a[i] + k);
      acc[i][0] = dpbusd(acc[i][0], a_u8x32, b_s8x32[0]);
      acc[i][1] = dpbusd(acc[i][1], a_u8x32, b_s8x32[1]);
    }
  }
}

// The two chains of one row would run at a fifth of the rate: four steps side by side, added up at
// the end.
inline void accumulate(const GemmS8Block& block, const uint8_t* const* a, S32x8 (&acc)[1][2]) {
  constexpr int kSteps = 4;
  S32x8 sums[kSteps][2] = {{acc[0][0], acc[0][1]}};
  const int8_t* b = block.weights;
  const int32_t* offset = block.step_offset;
  const int32_t* const end = offset + block.step_count;
  for (; end - offset >= kSteps; offset += kSteps, b += kSteps * kStepBytes) {
#pragma GCC unroll 4
    for (int s = 0; s < kSteps; ++s) {
      const __m256i a_u8x32 = broadcast_k4(a[0] + offset[s]);
      sums[s][0] = dpbusd(sums[s][0], a_u8x32, load_x32(b + s * kStepBytes));
      sums[s][1] = dpbusd(sums[s][1], a_u8x32, load_x32(b + s * kStepBytes + 32));
    }
  }
  for (; offset != end; ++offset, b += kStepBytes) {
    const __m256i a_u8x32 = broadcast_k4(a[0] + *offset);
    sums[0][0] = dpbusd(sums[0][0], a_u8x32, load_x32(b));
    sums[0][1] = dpbusd(sums[0][1], a_u8x32, load_x32(b + 32));
  }
  for (int j = 0; j < 2; ++j) {
    const __m256i low = _mm256_add_epi32(reinterpret_cast<__m256i>(sums[0][j]),
                                         reinterpret_cast<__m256i>(sums[1][j]));
    const __m256i high = _mm256_add_epi32(reinterpret_cast<__m256i>(sums[2][j]),
                                          reinterpret_cast<__m256i>(sums[3][j]));
    acc[0][j] = reinterpret_cast<S32x8>(_mm256_add_epi32(low, high));  // wraps
  }
}

template <int MR>
inline void store(const GemmS8Args& args, const GemmS8Block&, int row, ptrdiff_t column,
                  const S32x8 (&acc)[MR][2], const KeepSums*) {
#pragma GCC unroll 6
  for (int i = 0; i < MR; ++i) {
    int32_t* sums = args.sum_rows[row + i] + column;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), reinterpret_cast<__m256i>(acc[i][0]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + 8), reinterpret_cast<__m256i>(acc[i][1]));
  }
}

template <int MR>
inline void store(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                  const S32x8 (&acc)[MR][2], const FloatRneAvx2* epilogue) {
  // Keeps the epilogue's constants out of the k-loop's registers (see avx2.cc).
  __asm__("" : "+r"(epilogue));
  const __m256 scale_lo = _mm256_load_ps(block.scale);
  const __m256 scale_hi = _mm256_load_ps(block.scale + 8);
#pragma GCC unroll 6
  for (int i = 0; i < MR; ++i) {
    const __m128i y_u8x16 =
        epilogue->to_u8(reinterpret_cast<__m256i>(acc[i][0]), reinterpret_cast<__m256i>(acc[i][1]),
                        scale_lo, scale_hi);
    store_u8x16(args.c_rows[row + i] + column, y_u8x16, block.n);
  }
}

template <int MR, class Epilogue>
inline void tile(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                 const Epilogue* epilogue) {
  const uint8_t* a[MR];
  S32x8 acc[MR][2];
#pragma GCC unroll 6
  for (int i = 0; i < MR; ++i) {
    a[i] = args.a_rows[row + i] + args.a_offset;
    acc[i][0] = reinterpret_cast<S32x8>(load_x32(block.bias));
    acc[i][1] = reinterpret_cast<S32x8>(load_x32(block.bias + 8));
  }
  accumulate(block, a, acc);
  store(args, block, row, column, acc, epilogue);
}

template <class Epilogue>
void run(const GemmS8Args& args) {
  constexpr int kHalf = kMr / 2;
  const Epilogue epilogue(args.requant);
  for (int j = args.block_begin; j < args.block_end; ++j) {
    const GemmS8Block& block = args.blocks[j];
    const ptrdiff_t column = args.c_offset + static_cast<ptrdiff_t>(j) * kNr;
    int i = 0;
    for (; i + kHalf < args.m; i += kMr) tile<kMr>(args, block, i, column, &epilogue);
    // The rest runs as half a tile with repeated rows; a vector times a matrix as one row.
    if (i + 1 == args.m) {
      tile<1>(args, block, i, column, &epilogue);
    } else if (i < args.m) {
      tile<kHalf>(args, block, i, column, &epilogue);
    }
  }
}

}  // namespace

void gemm_s8_6x16c4_avxvnni(const GemmS8Args& args) {
  if (args.sum_rows != nullptr) return run<KeepSums>(args);
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneAvx2>(args);
  }
}

}  // namespace octavo
