// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul_s8/neon_pack.h"

// smmla multiplies two rows by two columns, eight k of each: 16 of them per 8 loads in a tile of
// 8 x 8. The rows of a tile are laid out for it in `wide`, once for all its columns. 16
// accumulators
// + 4 A + 4 B.
namespace octavo {
namespace {

constexpr int kMr = 8;
constexpr int kStep = kNr * 8;  // bytes of 8 k of a block: [4 pairs][2 columns][8 k]

void pack_dense_columns(const MatmulS8Pack& p, int64_t j, int8_t* out) {
  for (int64_t k = 0; k < p.k; k += 16, out += 2 * kStep) {
    for (int c = 0; c < kNr; ++c) {
      const int8x16_t column = column_s8x16(p, j + c, k);
      vst1_s8(out + 8 * c, vget_low_s8(column));
      vst1_s8(out + kStep + 8 * c, vget_high_s8(column));
    }
  }
}

void pack_dense_rows(const MatmulS8Pack& p, int64_t j, int8_t* out) {
  for (int64_t k = 0; k < matmul_s8_padded_k(p.k); k += 8, out += kStep) {
    int8x8_t rows[8];
    int8x16_t columns[4];
    for (int r = 0; r < 8; ++r) rows[r] = row_s8x8(p, k + r, j);
    transpose_s8x8(rows, columns);
    for (int i = 0; i < 4; ++i) vst1q_s8(out + 16 * i, columns[i]);
  }
}

void correct_columns(const MatmulS8Pack& p, uint8_t* block) {
  const int8x16_t ones = vdupq_n_s8(1);
  int32x4_t sum[4];  // two lanes of each column
  for (int i = 0; i < 4; ++i) {
    sum[i] = vdupq_n_s32(0);
    const uint8_t* w = block + kHeader + 16 * i;
    for (int64_t k = 0; k < p.k; k += 8, w += kStep)
      sum[i] = vdotq_s32(sum[i], load_s8x16(w), ones);
  }
  store_corrections(p, vpaddq_s32(sum[0], sum[1]), vpaddq_s32(sum[2], sum[3]), block);
}

// [k / 8][4 pairs][2 rows][8]. Rows past the last one hold what they held before.
void interleave_rows(const MatmulS8Args& args, const uint8_t* a, int64_t valid) {
  for (int64_t r = 0; r < valid; ++r, a += args.a_stride) {
    uint8_t* out = args.wide + 8 * r;
    for (int32_t k = 0; k < args.k; k += 16, out += 2 * kStep) {
      const uint8x16_t bytes = vld1q_u8(a + k);
      vst1_u8(out, vget_low_u8(bytes));
      vst1_u8(out + kStep, vget_high_u8(bytes));
    }
  }
}

// Pairs of rows by the 4 pairs of columns: acc holds row 0 of two columns, then row 1.
template <int kPairs>
inline void accumulate(const uint8_t* a, const uint8_t* w, int64_t padded_k,
                       int32x4_t (&acc)[kPairs][4]) {
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[i][j] = vdupq_n_s32(0);
  }
  for (const uint8_t* end = w + padded_k * kNr; w != end; a += kStep, w += kStep) {
    int8x16_t b[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) b[j] = load_s8x16(w + 16 * j);
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) {
      const int8x16_t a_s8x16 = load_s8x16(a + 16 * i);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) acc[i][j] = vmmlaq_s32(acc[i][j], a_s8x16, b[j]);
    }
  }
}

inline int32x4_t first_row(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
inline int32x4_t second_row(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

template <int kPairs, class Epilogue>
inline void tile(const MatmulS8Args& args, const int32_t* correction, const uint8_t* block,
                 uint8_t* c, int64_t valid, int n, const Epilogue& epilogue) {
  int32x4_t acc[kPairs][4];
  accumulate<kPairs>(args.wide, block + kHeader, matmul_s8_padded_k(args.k), acc);
  const int32_t* columns = reinterpret_cast<const int32_t*>(block);
  const int32x4_t lo = vld1q_s32(columns), hi = vld1q_s32(columns + 4);
  const float32x4_t scale[4] = {vdupq_n_f32(args.scale), vdupq_n_f32(args.scale),
                                vdupq_n_f32(args.scale), vdupq_n_f32(args.scale)};
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i, c += 2 * args.c_stride) {
    if (2 * i >= valid) break;
    const int32x4_t first = vdupq_n_s32(correction[2 * i]);
    const int32x4_t second = vdupq_n_s32(correction[2 * i + 1]);
    const int32x4_t sums[4] = {vaddq_s32(first_row(acc[i][0], acc[i][1]), vaddq_s32(first, lo)),
                               vaddq_s32(first_row(acc[i][2], acc[i][3]), vaddq_s32(first, hi)),
                               vaddq_s32(second_row(acc[i][0], acc[i][1]), vaddq_s32(second, lo)),
                               vaddq_s32(second_row(acc[i][2], acc[i][3]), vaddq_s32(second, hi))};
    const int8x16_t y = epilogue.to_s8(sums, scale);
    store_row(c, vget_low_s8(y), n);
    if (2 * i + 1 < valid) store_row(c + args.c_stride, vget_high_s8(y), n);
  }
}

template <class Epilogue>
void run(const MatmulS8Args& args) {
  const Epilogue epilogue(args.requant);
  const auto prepare = [&](const uint8_t* a, int64_t rows, int32_t* correction) {
    correct_rows(args, a, rows, correction);
    interleave_rows(args, a, rows);
  };
  const auto run_tile = [&](const uint8_t*, const int32_t* correction, const uint8_t* block,
                            uint8_t* c, int64_t rows, int n) {
    if (rows <= 2) {
      tile<1>(args, correction, block, c, rows, n, epilogue);
    } else {
      tile<4>(args, correction, block, c, rows, n, epilogue);
    }
  };
  for_each_tile<kMr>(args, prepare, run_tile);
}

}  // namespace

void pack_matmul_s8_neoni8mm(const MatmulS8Pack& args) {
  pack_blocks<pack_dense_rows, pack_dense_columns, correct_columns>(args);
}

void matmul_s8_8x8_neoni8mm(const MatmulS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneNeon>(args);
  }
}

}  // namespace octavo
