// SPDX-License-Identifier: Apache-2.0
// The norm of gemm_s16: the other rows equal this file bit by bit.
#include "kernels/gemm_s16/gemm_s16.h"

namespace octavo {

void gemm_s16_1x8_scalar(const GemmS16Args& args) {
  constexpr int kNr = 8;
  for (int32_t i = 0; i < args.m; ++i) {
    const int16_t* a = args.a_rows[i] + args.a_offset;
    int64_t sums[kNr] = {};
    for (int32_t p = 0; p < args.pairs; ++p) {
      const int16_t* a2 = a + args.pair_offset[p];
      const int16_t* w = args.weights + ptrdiff_t{p} * kNr * 2;
      for (int c = 0; c < kNr; ++c) sums[c] += a2[0] * w[2 * c] + a2[1] * w[2 * c + 1];
    }
    for (int c = 0; c < kNr; ++c) args.sums[i * kNr + c] = sums[c];
  }
}

}  // namespace octavo
