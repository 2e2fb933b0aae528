// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/gemm_f32/gemm_f32.h"
#include "ops/loop_nest.h"
#include "ops/op.h"

namespace octavo {

// A convolution or linear layer in float32: rows times constant weights.
struct LayerF32 {
  LoopNest<2> rows;  // operand 0 walks the input rows (bytes), operand 1 the output rows
  int32_t groups;
  int32_t n;                      // output channels of one group
  std::vector<int32_t> segments;  // byte offsets of the runs that make up K, from a row's address
  int32_t segment_len;            // floats
  float lo, hi;
};

// The layer packed for the kernel that select_gemm_f32 chose.
class PackedLayerF32 {
 public:
  // weights [groups * n][K], bias [groups * n].
  PackedLayerF32(LayerF32 layer, const std::vector<float>& weights, const std::vector<float>& bias,
                 const PrepareContext& context);
  // a, c: addresses that the row offsets count from.
  void run(const uint8_t* a, uint8_t* c) const noexcept;

  const GemmF32Kernel& kernel() const { return *kernel_; }
  int threads() const { return threads_; }
  int64_t packed_bytes() const { return static_cast<int64_t>(storage_.size()); }

 private:
  struct Part {  // of the output: rows x blocks, blocks counted through all groups
    int64_t row_begin, row_end;
    int64_t block_begin, block_end;
  };
  void run_part(const uint8_t* a, uint8_t* c, const Part& part) const noexcept;
  void run_blocks(GemmF32Args* args, int64_t begin, int64_t end) const noexcept;

  LayerF32 layer_;
  const GemmF32Kernel* kernel_;
  AlignedBuffer storage_;  // per group: weights, bias
  int64_t weight_floats_, bias_floats_;
  int64_t m_, blocks_per_group_;
  int threads_;
  bool split_rows_;
};

// Threads worth using for so many float32 multiply-accumulates, of which a core does some 14 per
// cycle where threads_for expects 32.
int threads_for_f32(const PrepareContext& context, int64_t macs);

// Floats `first`, `first + 1`: clamp bounds, lo <= hi, infinities allowed.
void read_clamp(const StepView& step, int first, float* lo, float* hi);

}  // namespace octavo
