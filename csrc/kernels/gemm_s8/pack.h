// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/gemm_s8/gemm_s8.h"

namespace octavo {

// Weights of one group as the graph knows them.
struct GemmS8Weights {
  int32_t n;              // output channels
  int32_t segment_count;  // K is segment_count runs of segment_len bytes
  int32_t segment_len;
  const int16_t* weights;   // [n][segment_count * segment_len], w - zero_point, in [-255, 255]
  const int32_t* bias;      // [n]
  const float* multiplier;  // [n]
  int32_t a_zero_point;     // 0..255, folded into the bias
  const int32_t* segment_offset;  // [segment_count] byte offsets from the row pointer
};

struct PackedGemmS8 {
  AlignedBuffer storage;
  std::vector<GemmS8Block> blocks;  // point into storage, which moving keeps in place
  int64_t steps = 0;                // dword steps of all blocks
  int64_t flipped_steps = 0;        // those that A enters as the signed operand (kMaddubs)
};

PackedGemmS8 pack_gemm_s8(const GemmS8Kernel& kernel, const GemmS8Weights& weights);

}  // namespace octavo
