// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm_f32/gemm_f32.h"
#include "kernels/simd/clamp_f32_neon.h"

// 8x8: 16 accumulators cover a latency of 4 at four fmla per cycle (Neoverse V1), or of 7 at two
// (A72). Rows are read four k at a time, fmla takes the lane it needs: 4 loads of 16 bytes per 16
// fmla, one less than 4x16, and no column is wasted where n is a multiple of 8. Few rows take
// several blocks of columns at once.
namespace octavo {
namespace {

constexpr int kMr = 8, kNr = 8, kVectors = 2;  // vectors of a block
constexpr int kStep = 4;                       // k per vector of A

// acc[i][*] += A[i][k + LANE] * row k + LANE of the weights of NB blocks.
template <int LANE, int MR, int NB>
inline void step(const float32x4_t* a, const float* w, ptrdiff_t block_floats,
                 float32x4_t (*acc)[NB * kVectors]) {
#pragma GCC unroll 8
  for (int j = 0; j < NB * kVectors; ++j) {
    const float32x4_t b =
        vld1q_f32(w + LANE * kNr + j / kVectors * block_floats + 4 * (j % kVectors));
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      acc[i][j] = vfmaq_laneq_f32(acc[i][j], b, a[i], LANE);
      settle(acc[i][j]);
    }
  }
}

// MR rows times NB adjacent blocks.
template <int MR, int NB>
inline void tile(const GemmF32Args& g, int row, int block) {
  constexpr int kColumns = NB * kVectors;
  const ptrdiff_t block_floats = ptrdiff_t{kNr} * g.segment_count * g.segment_len;
  const float* w = g.weights + block * block_floats;
  float32x4_t acc[MR][kColumns];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) acc[i][j] = vld1q_f32(g.bias + block * kNr + 4 * j);
  }
  for (int s = 0; s < g.segment_count; ++s) {
    const float* a[MR];
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      a[i] = reinterpret_cast<const float*>(g.a_rows[row + i] + g.a_offset + g.segments[s]);
    }
    ptrdiff_t k = 0;
    for (; k + kStep <= g.segment_len; k += kStep, w += kStep * kNr) {
      float32x4_t values[MR];
#pragma GCC unroll 8
      for (int i = 0; i < MR; ++i) values[i] = vld1q_f32(a[i] + k);
      step<0, MR, NB>(values, w, block_floats, acc);
      step<1, MR, NB>(values, w, block_floats, acc);
      step<2, MR, NB>(values, w, block_floats, acc);
      step<3, MR, NB>(values, w, block_floats, acc);
    }
    for (; k < g.segment_len; ++k, w += kNr) {
      float32x4_t values[MR];
#pragma GCC unroll 8
      for (int i = 0; i < MR; ++i) values[i] = vdupq_n_f32(a[i][k]);
      step<0, MR, NB>(values, w, block_floats, acc);
    }
  }
  const ClampF32x4 clamp(g.lo, g.hi);
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    float* c = reinterpret_cast<float*>(g.c_rows[row + i] + g.c_offset);
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) {
      const int column = block * kNr + 4 * j;
      store_f32x4(c + column, clamp(acc[i][j]), g.n - column);
    }
  }
}

// Tiles of nearly equal height: 49 rows are seven times 7.
void run_block(const GemmF32Args& g, int block) {
  const int tiles = (g.m + kMr - 1) / kMr;
  const int height = g.m / tiles, higher = g.m % tiles;
  int row = 0;
  for (int t = 0; t < tiles; ++t) {
    const int rows = height + (t < higher ? 1 : 0);
    switch (rows) {
      case 1: tile<1, 1>(g, row, block); break;
      case 2: tile<2, 1>(g, row, block); break;
      case 3: tile<3, 1>(g, row, block); break;
      case 4: tile<4, 1>(g, row, block); break;
      case 5: tile<5, 1>(g, row, block); break;
      case 6: tile<6, 1>(g, row, block); break;
      case 7: tile<7, 1>(g, row, block); break;
      default: tile<8, 1>(g, row, block); break;
    }
    row += rows;
  }
}

}  // namespace

void gemm_f32_8x8_neon(const GemmF32Args& g) {
  int j = g.block_begin;
  if (g.m == 1) {
    for (; j + 4 <= g.block_end; j += 4) tile<1, 4>(g, 0, j);
  } else if (g.m <= 4) {
    for (; j + 2 <= g.block_end; j += 2) {
      switch (g.m) {
        case 2: tile<2, 2>(g, 0, j); break;
        case 3: tile<3, 2>(g, 0, j); break;
        default: tile<4, 2>(g, 0, j); break;
      }
    }
  }
  for (; j < g.block_end; ++j) run_block(g, j);
}

}  // namespace octavo
