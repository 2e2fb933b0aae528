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
  bool keeps_sums = false;  // runs with a sink: columns in their natural order, no requantization
};

// Some sums of a layer: rows [row, row + rows) times channels [channel, channel + n).
struct SumTile {
  const int32_t* sums;
  int64_t stride;          // elements between rows
  uint8_t* const* c_rows;  // where the layer's output rows begin
  int64_t row, channel;    // the channel counts through all groups
  int32_t rows, n;
};

// What becomes of the sums of a layer that keeps them. Called from several threads.
class SumSink {
 public:
  virtual void take(const SumTile& tile) const noexcept = 0;

 protected:
  ~SumSink() = default;
};

// Kernels that can run the layer, the cost model's choice first.
KernelNames gemm_kernels(const GemmLayer& layer, const PrepareContext& context);

// The layer packed for one of them: context.kernel, or the first.
class PackedGemm {
 public:
  PackedGemm(const GemmLayer& layer, const QuantWeights& weights, const PrepareContext& context);

  // a, c: addresses that the row offsets count from.
  void run(const uint8_t* a, uint8_t* c) const noexcept;
  // Of a layer that keeps its sums; `scratch` has sums_bytes().
  void run(const uint8_t* a, uint8_t* c, const SumSink& sink, uint8_t* scratch) const noexcept;
  int64_t sums_bytes() const;

  const GemmS8Kernel& kernel() const { return kernel_; }
  int threads() const { return threads_; }
  int64_t packed_bytes() const;

 private:
  struct Part {  // of the output: rows x blocks, blocks counted through all groups
    int64_t row_begin, row_end;
    int64_t block_begin, block_end;
  };
  template <class Body>
  void for_parts(Body&& body) const noexcept;
  void run_part(const uint8_t* a, uint8_t* c, const Part& part) const noexcept;
  void sum_part(const uint8_t* a, uint8_t* c, const Part& part, const SumSink& sink,
                int32_t* sums) const noexcept;
  void sum_blocks(GemmS8Args* args, const Part& part, const SumSink& sink,
                  SumTile* tile) const noexcept;
  void run_blocks(GemmS8Args* args, int64_t block_begin, int64_t block_end) const noexcept;

  LoopNest<2> rows_;
  int64_t m_;
  int64_t blocks_per_group_;
  int32_t groups_, n_, segment_len_;
  Requant requant_;
  GemmS8Kernel kernel_;
  std::vector<PackedGemmS8> packed_;  // by group
  int threads_;
  bool split_rows_;
};

}  // namespace octavo
