// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm_f32/gemm_f32.h"
#include "kernels/simd/clamp_f32_avx512.h"
#include "kernels/simd/x86.h"

// 8x32: 16 accumulators cover a latency of 4 at two FMA per cycle with 7 or 8 rows, and gcc 12
// keeps them in registers (more of them it does not, see gemm_s8). Few rows take several blocks of
// columns at once.
namespace octavo {
namespace {

constexpr int kMr = 8, kNr = 32;

// MR rows times NB adjacent blocks, of which NV vectors are in use.
template <int MR, int NV, int NB>
inline void tile(const GemmF32Args& g, int row, int block) {
  constexpr int kVectors = NB * NV;
  const ptrdiff_t block_floats = ptrdiff_t{kNr} * g.segment_count * g.segment_len;
  const float* w = g.weights + block * block_floats;
  __m512 acc[MR][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      acc[i][j] = _mm512_load_ps(g.bias + (block + j / NV) * kNr + 16 * (j % NV));
    }
  }
  for (int s = 0; s < g.segment_count; ++s) {
    const float* a[MR];
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      a[i] = reinterpret_cast<const float*>(g.a_rows[row + i] + g.a_offset + g.segments[s]);
    }
    for (ptrdiff_t k = 0; k < g.segment_len; ++k, w += kNr) {
      __m512 b[kVectors];
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) {
        b[j] = _mm512_load_ps(w + j / NV * block_floats + 16 * (j % NV));
      }
#pragma GCC unroll 8
      for (int i = 0; i < MR; ++i) {
        const __m512 value = _mm512_set1_ps(a[i][k]);
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) acc[i][j] = _mm512_fmadd_ps(value, b[j], acc[i][j]);
      }
    }
  }
  const ClampF32x16 clamp(g.lo, g.hi);
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    float* c = reinterpret_cast<float*>(g.c_rows[row + i] + g.c_offset);
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      const int column = (block + j / NV) * kNr + 16 * (j % NV);
      store_f32x16(c + column, clamp(acc[i][j]), g.n - column);
    }
  }
}

// Tiles of nearly equal height: 49 rows are seven times 7.
template <int NV>
void run_block(const GemmF32Args& g, int block) {
  const int tiles = (g.m + kMr - 1) / kMr;
  const int height = g.m / tiles, higher = g.m % tiles;
  int row = 0;
  for (int t = 0; t < tiles; ++t) {
    const int rows = height + (t < higher ? 1 : 0);
    switch (rows) {
      case 1: tile<1, NV, 1>(g, row, block); break;
      case 2: tile<2, NV, 1>(g, row, block); break;
      case 3: tile<3, NV, 1>(g, row, block); break;
      case 4: tile<4, NV, 1>(g, row, block); break;
      case 5: tile<5, NV, 1>(g, row, block); break;
      case 6: tile<6, NV, 1>(g, row, block); break;
      case 7: tile<7, NV, 1>(g, row, block); break;
      default: tile<8, NV, 1>(g, row, block); break;
    }
    row += rows;
  }
}

}  // namespace

void gemm_f32_8x32_avx512vnni(const GemmF32Args& g) {
  int j = g.block_begin;
  // The last vector of the last block of several must hold columns, or nothing would be stored.
  const auto full = [&](int blocks) {
    return j + blocks <= g.block_end && g.n > (j + blocks) * kNr - 16;
  };
  if (g.m == 1) {
    for (; full(4); j += 4) tile<1, 2, 4>(g, 0, j);
  }
  if (g.m <= 2) {
    for (; full(2); j += 2) {
      if (g.m == 1) {
        tile<1, 2, 2>(g, 0, j);
      } else {
        tile<2, 2, 2>(g, 0, j);
      }
    }
  }
  for (; j < g.block_end; ++j) {
    if (g.n > j * kNr + 16) {
      run_block<2>(g, j);
    } else {
      run_block<1>(g, j);
    }
  }
}

}  // namespace octavo
