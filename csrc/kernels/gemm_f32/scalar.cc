// SPDX-License-Identifier: Apache-2.0
// The norm of gemm_f32: the other rows equal this file bit by bit.
#include "kernels/fma_scalar.h"
#include "kernels/gemm_f32/gemm_f32.h"

namespace octavo {
namespace {

constexpr int kNr = 8;  // columns side by side, which the compiler may turn into vectors

void row(const GemmF32Args& g, const uint8_t* a_row, const float* weights, const float* bias,
         float* out, int n) {
  float acc[kNr];
  for (int c = 0; c < kNr; ++c) acc[c] = bias[c];
  const float* w = weights;
  for (int s = 0; s < g.segment_count; ++s) {
    const float* a = reinterpret_cast<const float*>(a_row + g.segments[s]);
    for (int k = 0; k < g.segment_len; ++k, w += kNr) {
      const float value = a[k];
      for (int c = 0; c < kNr; ++c) acc[c] = fma_f32(value, w[c], acc[c]);
    }
  }
  for (int c = 0; c < n; ++c) out[c] = clamp_f32(acc[c], g.lo, g.hi);
}

}  // namespace

void gemm_f32_1x8_scalar(const GemmF32Args& g) {
  const ptrdiff_t k = static_cast<ptrdiff_t>(g.segment_count) * g.segment_len;
  for (int j = g.block_begin; j < g.block_end; ++j) {
    const int column = j * kNr, n = g.n - column < kNr ? g.n - column : kNr;
    for (int i = 0; i < g.m; ++i) {
      row(g, g.a_rows[i] + g.a_offset, g.weights + column * k, g.bias + column,
          reinterpret_cast<float*>(g.c_rows[i] + g.c_offset) + column, n);
    }
  }
}

}  // namespace octavo
