// SPDX-License-Identifier: Apache-2.0
// The norm of gemm_s8: the other rows equal this file bit by bit.
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/round_scalar.h"
#include "kernels/stored.h"

namespace octavo {
namespace {

constexpr int kNr = 4;

// uint32 wraps by definition where int32 would be undefined behaviour.
inline uint32_t product(int32_t a, int32_t w) { return static_cast<uint32_t>(a * w); }

void accumulate(const GemmS8Block& block, const uint8_t* a, uint32_t (&acc)[kNr]) {
  for (int s = 0; s < block.step_count; ++s) {
    const uint8_t* a4 = a + block.step_offset[s];
    const int8_t* w = block.weights + s * (kNr * 4);
    for (int c = 0; c < kNr; ++c) {
      for (int k = 0; k < 4; ++k) acc[c] += product(number_of(a4[k]), w[c * 4 + k]);
    }
  }
}

void sums(const GemmS8Block& block, const uint8_t* a, uint32_t (&acc)[kNr]) {
  for (int c = 0; c < kNr; ++c) acc[c] = static_cast<uint32_t>(block.bias[c]);
  accumulate(block, a, acc);
}

void keep_row(const GemmS8Block& block, const uint8_t* a, int32_t* out) {
  uint32_t acc[kNr];
  sums(block, a, acc);
  for (int c = 0; c < kNr; ++c) out[c] = static_cast<int32_t>(acc[c]);
}

void row(const GemmS8Block& block, const Requant& rq, const uint8_t* a, uint8_t* out) {
  uint32_t acc[kNr];
  sums(block, a, acc);
  for (int c = 0; c < block.n; ++c) {
    const float v = static_cast<float>(static_cast<int32_t>(acc[c])) * block.scale[c];
    out[c] = stored_of(round_clamped(v, rq.lo, rq.hi) + rq.zero_point);
  }
}

}  // namespace

void gemm_s8_1x4c4_scalar(const GemmS8Args& args) {
  for (int j = args.block_begin; j < args.block_end; ++j) {
    const ptrdiff_t column = args.c_offset + static_cast<ptrdiff_t>(j) * kNr;
    for (int i = 0; i < args.m; ++i) {
      const uint8_t* a = args.a_rows[i] + args.a_offset;
      if (args.sum_rows != nullptr) {
        keep_row(args.blocks[j], a, args.sum_rows[i] + column);
      } else {
        row(args.blocks[j], args.requant, a, args.c_rows[i] + column);
      }
    }
  }
}

}  // namespace octavo
