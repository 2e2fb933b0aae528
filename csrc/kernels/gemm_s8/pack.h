// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/gemm_s8/gemm_s8.h"

namespace octavo {

// Weights of one group as the graph knows them.
struct GemmS8Weights {
  int32_t n;                    // output channels
  int32_t segment_count;        // K is segment_count runs of segment_len bytes
  int32_t segment_len;
  const int16_t* weights;       // [n][segment_count * segment_len], w - zero_point, in [-255, 255]
  const int32_t* bias;          // [n]
  const float* multiplier;      // [n]
  int32_t a_zero_point;         // 0..255, folded into the bias
  const int32_t* segment_offset;  // [segment_count] byte offsets from the row pointer
};

struct PackedGemmS8 {
  AlignedBuffer storage;
  std::vector<GemmS8Block> blocks;
  std::vector<GemmS8Segment> segments;
};

// Share of (k4 step, nr block) pairs with a pair of weights that could saturate vpmaddubsw or does
// not fit s8; what select needs to choose between the maddubs and the madd16 path.
float gemm_s8_extra_share(const GemmS8Weights& weights, int nr);

PackedGemmS8 pack_gemm_s8(const GemmS8Kernel& kernel, const GemmS8Weights& weights);

}  // namespace octavo
