// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul_s8/neon_pack.h"

// smull and smlal to int16, then sadalp to int32: three instructions for 16 products. Two products
// of -128 by -128 do not fit int16, and no path may depend on the values, so pack stores the
// complement of b, -b - 1, for the upper 8 of every 16 k, and those products are subtracted:
//   a0 * b0 - a1 * ~b1  =  a0 * b0 + a1 * b1 + a1,
// where a0 * b0 and a1 * ~b1 are both in -16256..16384: the difference fits. The sum of all a1 is
// taken off again with the other corrections of the row.
namespace octavo {
namespace {

constexpr int kMr = 2;
constexpr int kStep = kNr * 16;  // bytes of 16 k of a block: [8 columns][16 k]

// The upper half's complement of what is valid; padding stays 0.
inline int8x16_t complement_upper(int8x16_t column, int64_t valid) {
  alignas(16) static constexpr uint8_t kIndex[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                     8, 9, 10, 11, 12, 13, 14, 15};
  const uint8x16_t index = vld1q_u8(kIndex);
  const uint8x16_t end = vdupq_n_u8(static_cast<uint8_t>(valid < 16 ? valid : 16));
  const uint8x16_t upper = vcgeq_u8(index, vdupq_n_u8(8));
  const uint8x16_t flip = vandq_u8(upper, vcltq_u8(index, end));
  return veorq_s8(column, vreinterpretq_s8_u8(flip));
}

void pack_dense_columns(const MatmulS8Pack& p, int64_t j, int8_t* out) {
  for (int64_t k = 0; k < p.k; k += 16) {
    for (int c = 0; c < kNr; ++c, out += 16) {
      vst1q_s8(out, complement_upper(column_s8x16(p, j + c, k), p.k - k));
    }
  }
}

void pack_dense_rows(const MatmulS8Pack& p, int64_t j, int8_t* out) {
  for (int64_t k = 0; k < p.k; k += 16, out += kStep) {
    int8x8_t lower[8], upper[8];
    for (int r = 0; r < 8; ++r) {
      lower[r] = row_s8x8(p, k + r, j);
      upper[r] = row_s8x8(p, k + 8 + r, j);
    }
    int8x16_t lo[4], hi[4];
    transpose_s8x8(lower, lo);
    transpose_s8x8(upper, hi);
    for (int i = 0; i < 4; ++i) {
      const int8x16_t even = vcombine_s8(vget_low_s8(lo[i]), vget_low_s8(hi[i]));
      const int8x16_t odd = vcombine_s8(vget_high_s8(lo[i]), vget_high_s8(hi[i]));
      vst1q_s8(out + 32 * i, complement_upper(even, p.k - k));
      vst1q_s8(out + 32 * i + 16, complement_upper(odd, p.k - k));
    }
  }
}

// acc[i]: four lanes that add up to column i. Their sums.
inline int32x4_t reduce(const int32x4_t* acc) {
  return vpaddq_s32(vpaddq_s32(acc[0], acc[1]), vpaddq_s32(acc[2], acc[3]));
}

void correct_columns(const MatmulS8Pack& p, uint8_t* block) {
  int32x4_t sum[kNr];
  for (int c = 0; c < kNr; ++c) {
    sum[c] = vdupq_n_s32(0);
    const uint8_t* w = block + kHeader + 16 * c;
    for (int64_t k = 0; k < p.k; k += 16, w += kStep) {
      const int8x16_t b = load_s8x16(w);
      sum[c] = vpadalq_s16(sum[c], vsubl_s8(vget_low_s8(b), vget_high_s8(b)));
    }
  }
  const int32_t rest = p.k % 16 - 8;
  const int32x4_t upper = vdupq_n_s32(p.k / 16 * 8 + (rest > 0 ? rest : 0));
  store_corrections(p, vsubq_s32(reduce(sum), upper), vsubq_s32(reduce(sum + 4), upper), block);
}

// Rows a and a + stride.
template <int MR>
inline void accumulate(const uint8_t* a, ptrdiff_t stride, int32_t k_end, const uint8_t* w,
                       int32x4_t (&acc)[MR][kNr]) {
#pragma GCC unroll 2
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
    for (int c = 0; c < kNr; ++c) acc[i][c] = vdupq_n_s32(0);
  }
  for (int32_t k = 0; k < k_end; k += 16, a += 16, w += kStep) {
    int8x16_t a_s8x16[MR];
#pragma GCC unroll 2
    for (int i = 0; i < MR; ++i) a_s8x16[i] = load_s8x16(a + i * stride);
#pragma GCC unroll 8
    for (int c = 0; c < kNr; ++c) {
      const int8x16_t b = load_s8x16(w + 16 * c);
      asm volatile("" ::: "memory");  // GCC 12 would load all columns first, and spill
#pragma GCC unroll 2
      for (int i = 0; i < MR; ++i) {
        int16x8_t products = vmull_s8(vget_low_s8(a_s8x16[i]), vget_low_s8(b));
        products = vmlsl_high_s8(products, a_s8x16[i], b);
        acc[i][c] = vpadalq_s16(acc[i][c], products);
      }
    }
  }
}

template <int MR, class Epilogue>
inline void tile(const MatmulS8Args& args, const uint8_t* a, const int32_t* correction,
                 const uint8_t* block, uint8_t* c, int n, const Epilogue& epilogue) {
  int32x4_t acc[MR][kNr];
  accumulate<MR>(a, args.a_stride, args.k, block + kHeader, acc);
  const int32_t* columns = reinterpret_cast<const int32_t*>(block);
  const float32x4_t scale[2] = {vdupq_n_f32(args.scale), vdupq_n_f32(args.scale)};
#pragma GCC unroll 2
  for (int i = 0; i < MR; ++i) {
    const int32x4_t row = vdupq_n_s32(correction[i]);
    const int32x4_t sums[2] = {
        vaddq_s32(reduce(acc[i]), vaddq_s32(row, vld1q_s32(columns))),
        vaddq_s32(reduce(acc[i] + 4), vaddq_s32(row, vld1q_s32(columns + 4)))};
    store_row(c + i * args.c_stride, epilogue.to_s8(sums, scale), n);
  }
}

template <class Epilogue>
void run(const MatmulS8Args& args) {
  const Epilogue epilogue(args.requant);
  const int32_t zb = args.b_zero_point - kStoredOffset;
  const auto prepare = [&](const uint8_t* a, int64_t rows, int32_t* correction) {
    for (int64_t r = 0; r < rows; ++r) {
      const RowSums sums = row_sums(a + r * args.a_stride, args.k);
      correction[r] = -zb * (sums.lo + sums.hi) - sums.hi;
    }
  };
  const auto run_tile = [&](const uint8_t* a, const int32_t* correction, const uint8_t* block,
                            uint8_t* c, int64_t rows, int n) {
    if (rows == 1) {
      tile<1>(args, a, correction, block, c, n, epilogue);
    } else {
      tile<kMr>(args, a, correction, block, c, n, epilogue);
    }
  };
  for_each_tile<kMr>(args, prepare, run_tile);
}

}  // namespace

void pack_matmul_s8_neon(const MatmulS8Pack& args) {
  pack_blocks<pack_dense_rows, pack_dense_columns, correct_columns>(args);
}

void matmul_s8_2x8_neon(const MatmulS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneNeon>(args);
  }
}

}  // namespace octavo
