// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/gemm_s8/gemm_s8.h"
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

template <class Sums, int MR, class Epilogue>
inline void tile(const GemmS8Args& args, const GemmS8Block& block, int row, ptrdiff_t column,
                 const Epilogue* epilogue) {
  constexpr int kQuads = Sums::kNr / 4;
  const uint8_t* a[MR];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) a[i] = args.a_rows[row + i] + args.a_offset;
  int32x4_t sums[MR][kQuads];
  Sums::add(block, a, sums);

  // Keeps the epilogue's constants out of the k-loop's registers.
  __asm__("" : "+r"(epilogue));
  float32x4_t scale[kQuads];
#pragma GCC unroll 4
  for (int j = 0; j < kQuads; ++j) scale[j] = vld1q_f32(block.scale + 4 * j);
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    store_s8(args.c_rows[row + i] + column, epilogue->to_s8(sums[i], scale), block.n);
  }
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
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<Sums, MR, FloatRneNeon>(args);
  }
}

}  // namespace
}  // namespace octavo
