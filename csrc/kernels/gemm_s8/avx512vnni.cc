// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/gemm_s8/keep_sums.h"
#include "kernels/simd/requant_avx512.h"
#include "kernels/simd/x86.h"

// One tile template for 4x64, 7x32 and 14x16. vpdpbusd has latency 4-5 at one to two per cycle, so
// 10 accumulators saturate every core; 7 and 14 rows divide the 7, 14, 28, 56 of image networks.
namespace octavo {
namespace {

// Accumulators are carried around the k-loop as int32 lanes, the operand type of the vpdpbusd
// builtin. Carried as __m512i (int64 lanes) gcc 12 keeps each one twice, in both types: two moves
// per accumulator and step, and memory once the copies exceed the 32 registers.
using S32x16 = int32_t __attribute__((vector_size(64)));

inline S32x16 dpbusd(S32x16 acc, __m512i a_u8x64, __m512i b_s8x64) {
  return reinterpret_cast<S32x16>(
      _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(acc), a_u8x64, b_s8x64));
}

inline __m512i broadcast_k4(const uint8_t* a) {
  int32_t k4;
  std::memcpy(&k4, a, sizeof k4);
  return _mm512_set1_epi32(k4);
}

// Exactly n bytes, n in 1..16 * NV.
inline void store_u8(uint8_t* c, __m512i y_u8x64, int n) {
  _mm512_mask_storeu_epi8(c, ~uint64_t{0} >> (64 - n), y_u8x64);
}
inline void store_u8(uint8_t* c, __m256i y_u8x32, int n) {
  _mm256_mask_storeu_epi8(c, ~uint32_t{0} >> (32 - n), y_u8x32);
}
inline void store_u8(uint8_t* c, __m128i y_u8x16, int n) {
  _mm_mask_storeu_epi8(c, static_cast<uint16_t>(0xffff >> (16 - n)), y_u8x16);
}

template <int MR, int NV>
inline void store(const GemmS8Args& args, const GemmS8Block&, int row, ptrdiff_t column,
                  const S32x16 (&acc)[MR][NV], const KeepSums&) {
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      _mm512_storeu_si512(args.sum_rows[row + i] + column + 16 * j,
                          reinterpret_cast<__m512i>(acc[i][j]));
    }
  }
}

template <int MR, int NV>
inline void store(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                  const S32x16 (&acc)[MR][NV], const FloatRneAvx512& epilogue) {
  __m512 scale[NV];
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) scale[j] = _mm512_load_ps(block.scale + 16 * j);
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    __m512i acc_i[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc_i[j] = reinterpret_cast<__m512i>(acc[i][j]);
    store_u8(args.c_rows[row + i] + column, epilogue.to_u8(acc_i, scale), block.n);
  }
}

template <int MR, int NV, class Epilogue>
inline void tile(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                 const Epilogue& epilogue) {
  const uint8_t* a[MR];
  S32x16 acc[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    a[i] = args.a_rows[row + i] + args.a_offset;
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      acc[i][j] = reinterpret_cast<S32x16>(_mm512_load_si512(block.bias + 16 * j));
    }
  }

  const int8_t* b = block.weights;
  const int32_t* offset = block.step_offset;
  const int32_t* const end = offset + block.step_count;
  for (; offset != end; ++offset) {
    const ptrdiff_t k = *offset;
    __m512i b_s8x64[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) b_s8x64[j] = _mm512_load_si512(b + 64 * j);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const __m512i a_u8x64 = broadcast_k4(a[i] + k);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) {
        acc[i][j] = dpbusd(acc[i][j], a_u8x64, b_s8x64[j]);
      }
    }
    b += 64 * NV;
  }
  store(args, block, row, column, acc, epilogue);
}

template <int MR, int NV, class Epilogue>
void run(const GemmS8Args& args) {
  constexpr int kHalf = (MR + 1) / 2;
  const Epilogue epilogue(args.requant);
  for (int j = args.block_begin; j < args.block_end; ++j) {
    const GemmS8Block& block = args.blocks[j];
    const ptrdiff_t column = args.c_offset + static_cast<ptrdiff_t>(j) * (16 * NV);
    int i = 0;
    for (; i + kHalf < args.m; i += MR) tile<MR, NV>(args, block, i, column, epilogue);
    // The rest runs as half a tile with repeated rows; a vector times a matrix as one row.
    if (i + 1 == args.m) {
      tile<1, NV>(args, block, i, column, epilogue);
    } else if (i < args.m) {
      tile<kHalf, NV>(args, block, i, column, epilogue);
    }
  }
}

template <int MR, int NV>
void dispatch(const GemmS8Args& args) {
  if (args.sum_rows != nullptr) return run<MR, NV, KeepSums>(args);
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<MR, NV, FloatRneAvx512>(args);
  }
}

}  // namespace

void gemm_s8_4x64c4_avx512vnni(const GemmS8Args& args) { dispatch<4, 4>(args); }
void gemm_s8_7x32c4_avx512vnni(const GemmS8Args& args) { dispatch<7, 2>(args); }
void gemm_s8_14x16c4_avx512vnni(const GemmS8Args& args) { dispatch<14, 1>(args); }

}  // namespace octavo
