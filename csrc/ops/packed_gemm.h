// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <vector>

#include "kernels/gemm_s8/pack.h"
#include "ops/loop_nest.h"
#include "ops/op.h"
#include "ops/quant_args.h"

namespace octavo {

// A convolution or linear layer as rows times weights, before a kernel is chosen.
struct GemmLayer {
  // Operand 0 walks the input rows (bytes), operand 1 the output rows.
  LoopNest<2> rows;
  int32_t groups;
  int32_t n;                      // output channels of one group
  std::vector<int32_t> segments;  // byte offsets of the runs that make up K, from a row's address
  int32_t segment_len;
  int32_t a_zero_point;
  Requant requant;
};

// Kernels that can run the layer, the cost model's choice first.
KernelNames gemm_kernels(const GemmLayer& layer, const PrepareContext& context);

// The layer packed for one of them: context.kernel, or the first.
class PackedGemm {
 public:
  PackedGemm(const GemmLayer& layer, const QuantWeights& weights, const PrepareContext& context);

  // a, c: addresses that the row offsets count from.
  void run(const uint8_t* a, uint8_t* c) const noexcept;

  const GemmS8Kernel& kernel() const { return *kernel_; }
  int threads() const { return threads_; }
  int64_t packed_bytes() const;

 private:
  struct Part {  // of the output: rows x blocks, blocks counted through all groups
    int64_t row_begin, row_end;
    int64_t block_begin, block_end;
  };
  void run_part(const uint8_t* a, uint8_t* c, const Part& part) const noexcept;
  void run_blocks(GemmS8Args* args, int64_t block_begin, int64_t block_end) const noexcept;

  LoopNest<2> rows_;
  int64_t m_;
  int64_t blocks_per_group_;
  int32_t groups_, n_, segment_len_;
  Requant requant_;
  const GemmS8Kernel* kernel_;
  std::vector<PackedGemmS8> packed_;  // by group
  int threads_;
  bool split_rows_;
};

}  // namespace octavo
