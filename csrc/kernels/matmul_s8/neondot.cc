// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul_s8/neon_pack.h"

// sdot by a lane of A: four k of a block are two vectors, 64 sdot per 16 loads in a tile of 8 rows.
// 16 accumulators + 8 A + 4 B.
namespace octavo {
namespace {

constexpr int kMr = 8;
constexpr int kStep = kNr * 4;  // bytes of four k of a block

// Four columns: out[i] holds bytes 4i..4i+3 of each.
inline void transpose_s32x4(const int8x16_t (&column)[4], int8x16_t (&out)[4]) {
  int32x4_t in[4];
  for (int i = 0; i < 4; ++i) in[i] = vreinterpretq_s32_s8(column[i]);
  const int64x2_t lo01 = vreinterpretq_s64_s32(vzip1q_s32(in[0], in[1]));
  const int64x2_t hi01 = vreinterpretq_s64_s32(vzip2q_s32(in[0], in[1]));
  const int64x2_t lo23 = vreinterpretq_s64_s32(vzip1q_s32(in[2], in[3]));
  const int64x2_t hi23 = vreinterpretq_s64_s32(vzip2q_s32(in[2], in[3]));
  out[0] = vreinterpretq_s8_s64(vzip1q_s64(lo01, lo23));
  out[1] = vreinterpretq_s8_s64(vzip2q_s64(lo01, lo23));
  out[2] = vreinterpretq_s8_s64(vzip1q_s64(hi01, hi23));
  out[3] = vreinterpretq_s8_s64(vzip2q_s64(hi01, hi23));
}

void pack_dense_columns(const MatmulS8Pack& p, int64_t j, int8_t* out) {
  for (int64_t k = 0; k < p.k; k += 16, out += 4 * kStep) {
    for (int half = 0; half < 2; ++half) {
      int8x16_t column[4], quads[4];
      for (int c = 0; c < 4; ++c) column[c] = column_s8x16(p, j + 4 * half + c, k);
      transpose_s32x4(column, quads);
      for (int i = 0; i < 4; ++i) vst1q_s8(out + i * kStep + 16 * half, quads[i]);
    }
  }
}

void pack_dense_rows(const MatmulS8Pack& p, int64_t j, int8_t* out) {
  for (int64_t k = 0; k < matmul_s8_padded_k(p.k); k += 4, out += kStep) {
    const int16x8_t r01 = vreinterpretq_s16_s8(zip_s8x8(row_s8x8(p, k, j), row_s8x8(p, k + 1, j)));
    const int16x8_t r23 =
        vreinterpretq_s16_s8(zip_s8x8(row_s8x8(p, k + 2, j), row_s8x8(p, k + 3, j)));
    vst1q_s8(out, vreinterpretq_s8_s16(vzip1q_s16(r01, r23)));
    vst1q_s8(out + 16, vreinterpretq_s8_s16(vzip2q_s16(r01, r23)));
  }
}

void correct_columns(const MatmulS8Pack& p, uint8_t* block) {
  const int8x16_t ones = vdupq_n_s8(1);
  int32x4_t lo = vdupq_n_s32(0), hi = lo;
  const uint8_t* w = block + kHeader;
  for (int64_t k = 0; k < p.k; k += 4, w += kStep) {
    lo = vdotq_s32(lo, load_s8x16(w), ones);
    hi = vdotq_s32(hi, load_s8x16(w + 16), ones);
  }
  store_corrections(p, lo, hi, block);
}

struct ColumnQuads {  // four k of eight columns
  int8x16_t lo, hi;
};

inline ColumnQuads load_quads(const uint8_t* w) { return {load_s8x16(w), load_s8x16(w + 16)}; }

// A core that issues in order waits for what it has just loaded: the next b is fetched here.
template <int MR, int kLane>
inline ColumnQuads four_k(const int8x16_t (&a)[MR], const ColumnQuads& b, const uint8_t* next,
                          int32x4_t (&acc)[MR][2]) {
  asm volatile("" ::: "memory");
  const ColumnQuads fetched = load_quads(next);
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    acc[i][0] = vdotq_laneq_s32(acc[i][0], b.lo, a[i], kLane);
    acc[i][1] = vdotq_laneq_s32(acc[i][1], b.hi, a[i], kLane);
  }
  return fetched;
}

template <int MR, class Epilogue>
inline void tile(const MatmulS8Args& args, const uint8_t* a, const int32_t* correction,
                 const uint8_t* block, uint8_t* c, int64_t valid, int n, const Epilogue& epilogue) {
  const uint8_t* row[MR];
  int32x4_t acc[MR][2];
  const int32_t* columns = reinterpret_cast<const int32_t*>(block);
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    row[i] = a + (i < valid ? i : valid - 1) * args.a_stride;
    acc[i][0] = vaddq_s32(vdupq_n_s32(correction[i]), vld1q_s32(columns));
    acc[i][1] = vaddq_s32(vdupq_n_s32(correction[i]), vld1q_s32(columns + 4));
  }
  const uint8_t* w = block + kHeader;
  ColumnQuads b = load_quads(w);
  for (int32_t k = 0; k < args.k; k += 16, w += 4 * kStep) {
    int8x16_t a_s8x16[MR];
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) a_s8x16[i] = load_s8x16(row[i] + k);
    b = four_k<MR, 0>(a_s8x16, b, w + kStep, acc);
    b = four_k<MR, 1>(a_s8x16, b, w + 2 * kStep, acc);
    b = four_k<MR, 2>(a_s8x16, b, w + 3 * kStep, acc);
    b = four_k<MR, 3>(a_s8x16, b, k + 16 < args.k ? w + 4 * kStep : w, acc);
  }
  const float32x4_t scale[2] = {vdupq_n_f32(args.scale), vdupq_n_f32(args.scale)};
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    if (i >= valid) break;
    store_row(c + i * args.c_stride, epilogue.to_s8(acc[i], scale), n);
  }
}

template <class Epilogue>
void run(const MatmulS8Args& args) {
  const Epilogue epilogue(args.requant);
  const auto prepare = [&](const uint8_t* a, int64_t rows, int32_t* correction) {
    correct_rows(args, a, rows, correction);
  };
  const auto run_tile = [&](const uint8_t* a, const int32_t* correction, const uint8_t* block,
                            uint8_t* c, int64_t rows, int n) {
    if (rows == 1) {
      tile<1>(args, a, correction, block, c, rows, n, epilogue);
    } else {
      tile<kMr>(args, a, correction, block, c, rows, n, epilogue);
    }
  };
  for_each_tile<kMr>(args, prepare, run_tile);
}

}  // namespace

void pack_matmul_s8_neondot(const MatmulS8Pack& args) {
  pack_blocks<pack_dense_rows, pack_dense_columns, correct_columns>(args);
}

void matmul_s8_8x8_neondot(const MatmulS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneNeon>(args);
  }
}

}  // namespace octavo
