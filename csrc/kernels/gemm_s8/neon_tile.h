// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/gemm_s8/keep_sums.h"
#include "kernels/simd/partial_neon.h"
#include "kernels/simd/requant_neon.h"

// What the NEON rows share: the walk over blocks and rows, and the way from sums to bytes. A row's
// `Sums` policy has the constant kNr and a function
//   template <int MR> static void add(const GemmS8Block&, const uint8_t* const (&a)[MR],
//                                     int32x4_t (&sums)[MR][kNr / 4]);
// that sets sums[i][j] to bias + products of row i, columns 4j..4j + 3.
namespace octavo {
namespace {

inline void store_s8(uint8_t* c, int8x8_t y, int n) {
  if (n == 8) {
    vst1_u8(c, vreinterpret_u8_s8(y));
  } else {
    store_few(c, vget_lane_u64(vreinterpret_u64_s8(y), 0), n);
  }
}
inline void store_s8(uint8_t* c, int8x16_t y, int n) {
  if (n == 16) {
    vst1q_u8(c, vreinterpretq_u8_s8(y));
  } else {
    store_part(c, vreinterpretq_u8_s8(y), n);
  }
}

// The bytes of kRows rows of kQuads quads, n of each.
template <int kRows, int kQuads, class Epilogue>
inline void store_rows(const int32x4_t (*sums)[kQuads], const float32x4_t (&scale)[kQuads],
                       uint8_t* const* rows, ptrdiff_t column, int n, const Epilogue& epilogue) {
  static_assert(kQuads == 2 || kQuads == 4, "8 or 16 columns");
  constexpr int kVectors = kRows * kQuads / 4;
  int32x4_t acc[kRows * kQuads];
  float32x4_t factor[kRows * kQuads];
#pragma GCC unroll 8
  for (int k = 0; k < kRows * kQuads; ++k) {
    acc[k] = sums[k / kQuads][k % kQuads];
    factor[k] = scale[k % kQuads];
  }
  if constexpr (kVectors == 0) {
    store_s8(rows[0] + column, epilogue.to_s8(acc, factor), n);
  } else {
    int8x16_t y[kVectors];
    epilogue.to_s8(acc, factor, y);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      uint8_t* c = rows[i] + column;
      if constexpr (kQuads == 4) {
        store_s8(c, y[i], n);
      } else {
        store_s8(c, i % 2 == 0 ? vget_low_s8(y[i / 2]) : vget_high_s8(y[i / 2]), n);
      }
    }
  }
}

template <int MR, int kQuads>
inline void store(const GemmS8Args& args, const GemmS8Block&, int row, ptrdiff_t column,
                  const int32x4_t (&sums)[MR][kQuads], const KeepSums*) {
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kQuads; ++j) {
      vst1q_s32(args.sum_rows[row + i] + column + 4 * j, sums[i][j]);
    }
  }
}

template <int MR, int kQuads, class Epilogue>
inline void store(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                  const int32x4_t (&sums)[MR][kQuads], const Epilogue* epilogue) {
  // Keeps the epilogue's constants out of the k-loop's registers.
  __asm__("" : "+r"(epilogue));
  float32x4_t scale[kQuads];
#pragma GCC unroll 4
  for (int j = 0; j < kQuads; ++j) scale[j] = vld1q_f32(block.scale + 4 * j);
  // 32 sums side by side, or all there are: row by row an in-order core would wait for latencies.
  constexpr int kRows = MR * kQuads < 8 ? MR : 8 / kQuads;
#pragma GCC unroll 4
  for (int i = 0; i < MR; i += kRows) {
    store_rows<kRows>(sums + i, scale, args.c_rows + row + i, column, block.n, *epilogue);
  }
}

template <class Sums, int MR, class Epilogue>
inline void tile(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                 const Epilogue* epilogue) {
  constexpr int kQuads = Sums::kNr / 4;
  const uint8_t* a[MR];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) a[i] = args.a_rows[row + i] + args.a_offset;
  int32x4_t sums[MR][kQuads];
  Sums::add(block, a, sums);
  store(args, block, row, column, sums, epilogue);
}

template <class Sums, int MR, class Epilogue>
void run(const GemmS8Args& args) {
  constexpr int kHalf = (MR + 2) / 4 * 2;  // even: smmla takes rows in pairs
  const Epilogue epilogue(args.requant);
  for (int j = args.block_begin; j < args.block_end; ++j) {
    const GemmS8Block& block = args.blocks[j];
    const ptrdiff_t column = args.c_offset + static_cast<ptrdiff_t>(j) * Sums::kNr;
    int i = 0;
    for (; i + kHalf < args.m; i += MR) tile<Sums, MR>(args, block, i, column, &epilogue);
    // The rest runs as half a tile with repeated rows; a vector times a matrix as one row.
    if (i + 1 == args.m) {
      tile<Sums, 1>(args, block, i, column, &epilogue);
    } else if (i < args.m) {
      tile<Sums, kHalf>(args, block, i, column, &epilogue);
    }
  }
}

template <class Sums, int MR>
void dispatch(const GemmS8Args& args) {
  if (args.sum_rows != nullptr) return run<Sums, MR, KeepSums>(args);
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<Sums, MR, FloatRneNeon>(args);
  }
}

}  // namespace
}  // namespace octavo
