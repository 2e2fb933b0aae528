// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/matmul_s8/matmul_s8.h"
#include "kernels/simd/partial_neon.h"
#include "kernels/simd/requant_neon.h"
#include "kernels/stored.h"

// What the Arm rows have in common. Both operands are stored as s8 (kernels/stored.h) and are
// multiplied as they lie: with z = zero point - 128,
//   sum (a - za) * (b - zb)  =  sum a * b  -  zb * sum a  -  za * sum (b - zb),
// the second term a number per row, the third one per column, made by pack.
namespace octavo {
namespace {

constexpr int kNr = 8;
constexpr int kHeader = kNr * 4;  // bytes of a block before its elements

inline int8x16_t load_s8x16(const uint8_t* p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }

// Bytes k..k+15 of a dense column, 0 beyond its end and for columns that do not exist.
inline int8x16_t column_s8x16(const MatmulS8Pack& p, int64_t column, int64_t k) {
  const int64_t valid = column < p.n ? p.k - k : 0;
  if (valid <= 0) return vdupq_n_s8(0);
  const uint8_t* in = p.b + column * p.n_stride + k;
  if (valid >= 16) return load_s8x16(in);
  return vreinterpretq_s8_u8(load_part(in, static_cast<int>(valid)));
}

// Bytes j..j+7 of a dense row, likewise.
inline int8x8_t row_s8x8(const MatmulS8Pack& p, int64_t k, int64_t j) {
  const int64_t valid = k < p.k ? p.n - j : 0;
  if (valid <= 0) return vdup_n_s8(0);
  const uint8_t* in = p.b + k * p.k_stride + j;
  if (valid >= 8) return vreinterpret_s8_u8(vld1_u8(in));
  return vcreate_s8(load_few(in, static_cast<int>(valid)));
}

// a0 b0 a1 b1 ... of eight bytes each.
inline int8x16_t zip_s8x8(int8x8_t a, int8x8_t b) {
  const int8x8_t zero = vdup_n_s8(0);  // the upper halves are not read
  return vzip1q_s8(vcombine_s8(a, zero), vcombine_s8(b, zero));
}

// Eight bytes of each of eight rows, transposed: out[i] holds columns 2i and 2i + 1.
inline void transpose_s8x8(const int8x8_t (&row)[8], int8x16_t (&out)[4]) {
  int8x16_t by4[4], by2[4];
  for (int i = 0; i < 4; ++i) by4[i] = zip_s8x8(row[i], row[i + 4]);
  for (int i = 0; i < 2; ++i) {
    by2[i] = vzip1q_s8(by4[i], by4[i + 2]);      // columns 0..3 of rows i, i + 2, i + 4, i + 6
    by2[2 + i] = vzip2q_s8(by4[i], by4[i + 2]);  // columns 4..7
  }
  out[0] = vzip1q_s8(by2[0], by2[1]);
  out[1] = vzip2q_s8(by2[0], by2[1]);
  out[2] = vzip1q_s8(by2[2], by2[3]);
  out[3] = vzip2q_s8(by2[2], by2[3]);
}

// -za * sum_k (b - zb) of each column from its sum of b.
inline void store_corrections(const MatmulS8Pack& p, int32x4_t lo, int32x4_t hi, uint8_t* block) {
  const int32_t za = p.a_zero_point - kStoredOffset, zb = p.b_zero_point - kStoredOffset;
  const int32x4_t zeros = vdupq_n_s32(p.k * zb);
  int32_t* out = reinterpret_cast<int32_t*>(block);
  vst1q_s32(out, vmulq_n_s32(vsubq_s32(lo, zeros), -za));
  vst1q_s32(out + 4, vmulq_n_s32(vsubq_s32(hi, zeros), -za));
}

// Sums of the k bytes of a row: of those at 0..7 of every 16, and of those at 8..15.
struct RowSums {
  int32_t lo, hi;
};

inline RowSums row_sums(const uint8_t* a, int32_t k) {
  int32x4_t lo = vdupq_n_s32(0), hi = lo;
  int32_t i = 0;
  for (; i + 16 <= k; i += 16) {
    const int8x16_t bytes = load_s8x16(a + i);
    lo = vpadalq_s16(lo, vmovl_s8(vget_low_s8(bytes)));
    hi = vpadalq_s16(hi, vmovl_high_s8(bytes));
  }
  if (i < k) {
    const int8x16_t bytes = vreinterpretq_s8_u8(load_part(a + i, k - i));
    lo = vpadalq_s16(lo, vmovl_s8(vget_low_s8(bytes)));
    hi = vpadalq_s16(hi, vmovl_high_s8(bytes));
  }
  return {vaddvq_s32(lo), vaddvq_s32(hi)};
}

// n of 8 columns of a row.
inline void store_row(uint8_t* c, int8x8_t y, int n) {
  if (n == kNr) {
    vst1_u8(c, vreinterpret_u8_s8(y));
  } else {
    store_few(c, vget_lane_u64(vreinterpret_u64_s8(y), 0), n);
  }
}

// -zb * sum a of each row, where zb is the stored zero point.
inline void correct_rows(const MatmulS8Args& args, const uint8_t* a, int64_t rows,
                         int32_t* correction) {
  const int32_t zb = args.b_zero_point - kStoredOffset;
  for (int64_t r = 0; zb != 0 && r < rows; ++r) {
    const RowSums sums = row_sums(a + r * args.a_stride, args.k);
    correction[r] = -zb * (sums.lo + sums.hi);
  }
}

// prepare(a, rows, correction) for every MR rows of A, then tile(a, correction, block, c, rows, n)
// for every block of columns.
template <int MR, class Prepare, class Tile>
inline void for_each_tile(const MatmulS8Args& args, const Prepare& prepare, const Tile& tile) {
  const int64_t block_bytes = matmul_s8_block_bytes(kNr, 1, args.k);
  for (int64_t i = 0; i < args.m; i += MR) {
    const int64_t rows = args.m - i < MR ? args.m - i : MR;
    const uint8_t* a = args.a + i * args.a_stride;
    int32_t correction[MR] = {};
    prepare(a, rows, correction);
    const uint8_t* block = args.packed;
    for (int32_t j = 0; j < args.n; j += kNr, block += block_bytes) {
      tile(a, correction, block, args.c + i * args.c_stride + j, rows,
           args.n - j < kNr ? args.n - j : kNr);
    }
  }
}

// The elements of every block by one of kDenseRows and kDenseColumns, then its corrections.
using PackElements = void (*)(const MatmulS8Pack& args, int64_t j, int8_t* out);
using PackCorrections = void (*)(const MatmulS8Pack& args, uint8_t* block);
template <PackElements kDenseRows, PackElements kDenseColumns, PackCorrections kCorrect>
void pack_blocks(const MatmulS8Pack& args) {
  uint8_t* block = args.packed;
  for (int64_t j = 0; j < args.n; j += kNr, block += matmul_s8_block_bytes(kNr, 1, args.k)) {
    int8_t* out = reinterpret_cast<int8_t*>(block + kHeader);
    if (args.n_stride == 1) {
      kDenseRows(args, j, out);
    } else {
      kDenseColumns(args, j, out);
    }
    kCorrect(args, block);
  }
}

}  // namespace
}  // namespace octavo
