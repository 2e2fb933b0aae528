// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "base/bytes.h"
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

// Packed weights begin with one record per block: a GemmS8Block with offsets for pointers, so that
// they can be kept in a file and used where it is mapped.
struct GemmS8BlockRecord {
  uint64_t weights, step_offset, flipped_weights, flipped_offset, bias, scale;
  int32_t step_count, flipped_count, flipped_pairs, n;
};
static_assert(sizeof(GemmS8BlockRecord) == AlignedBuffer::kAlignment);

AlignedBuffer pack_gemm_s8_bytes(const GemmS8Kernel& kernel, const GemmS8Weights& weights);

// The blocks in bytes that were packed for this kernel and layer; false when they cannot have been:
// whatever the bytes are, the blocks of a view lead to no access outside of them or of A's rows.
bool view_gemm_s8(const GemmS8Kernel& kernel, const GemmS8Weights& weights, ByteSpan bytes,
                  std::vector<GemmS8Block>* blocks);

struct PackedGemmS8 {
  FixedBytes bytes;
  std::vector<GemmS8Block> blocks;  // point into bytes, which moving keeps in place
};

PackedGemmS8 pack_gemm_s8(const GemmS8Kernel& kernel, const GemmS8Weights& weights);

}  // namespace octavo
