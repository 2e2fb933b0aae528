// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/gemm_s16/gemm_s16.h"
#include "ops/loop_nest.h"
#include "ops/op.h"

namespace octavo {

// A layer on s16 activations without zero point: rows times constant weights, exact sums.
struct LayerS16 {
  LoopNest<2> rows;  // operand 0 walks the input rows (bytes), operand 1 the output rows
  int32_t groups;
  int32_t n;                      // output channels of one group
  std::vector<int32_t> segments;  // byte offsets of the runs that make up K, from a row's address
  int32_t segment_len;            // elements
};

struct SumTileS16 {  // rows times channels [channel, channel + n), counted through all groups
  const int64_t* sums;
  int64_t stride;
  uint8_t* const* c_rows;
  int64_t channel;
  int32_t rows, n;
};

class SumSinkS16 {  // called from several threads
 public:
  virtual void take(const SumTileS16& tile) const noexcept = 0;

 protected:
  ~SumSinkS16() = default;
};

class PackedLayerS16 {
 public:
  // weights [groups * n][K], of magnitude up to 255.
  PackedLayerS16(LayerS16 layer, const std::vector<int16_t>& weights,
                 const PrepareContext& context);
  void run(const uint8_t* a, uint8_t* c, const SumSinkS16& sink) const noexcept;

  const GemmS16Kernel& kernel() const { return *kernel_; }
  int threads() const { return threads_; }
  int64_t packed_bytes() const { return static_cast<int64_t>(storage_.size()); }

 private:
  void pack(const std::vector<int16_t>& weights, int64_t k);
  void run_rows(const uint8_t* a, uint8_t* c, const SumSinkS16& sink, int64_t begin,
                int64_t end) const noexcept;

  LayerS16 layer_;
  const GemmS16Kernel* kernel_;
  std::vector<int32_t> pair_offsets_;
  AlignedBuffer storage_;  // [groups][blocks][pairs][nr][2]
  int64_t m_, blocks_, block_elements_;
  int32_t pairs_per_sum_ = 1;
  int threads_;
};

}  // namespace octavo
