// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "ops/loop_nest.h"
#include "ops/op.h"

// Float32 matrix product in plain C++. Each output is bias + a[0]*w[0] + a[1]*w[1] + …, added in
// this order, so results depend neither on tiles nor on threads.
namespace octavo {

inline constexpr int64_t kF32Columns = 8;  // output columns computed together: two 4-lane vectors

struct GemmF32Args {
  const uint8_t* const* a_rows;  // m addresses of float32 rows
  uint8_t* const* c_rows;
  int64_t a_offset, c_offset;  // bytes added to each of them (groups)
  int64_t m;
  const int32_t* segments;  // byte offsets of the runs that make up K
  int64_t segment_count, segment_len;
  const float* weights;  // [ceil(n / 8)][K][8], 0 past n
  const float* bias;     // [ceil(n / 8) * 8]
  int64_t n;
  float lo, hi;  // clamp; NaN stays NaN
};

void gemm_f32(const GemmF32Args& args);

// Floats of packed weights for n columns, and the packing: w[column * column_stride + k *
// k_stride].
int64_t packed_f32_size(int64_t n, int64_t k);
void pack_f32(const float* w, int64_t column_stride, int64_t k_stride, int64_t n, int64_t k,
              float* out);

// A convolution or linear layer: rows times constant weights.
struct LayerF32 {
  LoopNest<2> rows;  // operand 0 walks the input rows (bytes), operand 1 the output rows
  int32_t groups;
  int32_t n;  // output channels of one group
  std::vector<int32_t> segments;
  int32_t segment_len;
  float lo, hi;
};

class PackedLayerF32 {
 public:
  // weights [groups * n][K], bias [groups * n].
  PackedLayerF32(LayerF32 layer, const std::vector<float>& weights, const std::vector<float>& bias,
                 const PrepareContext& context);
  void run(const uint8_t* a, uint8_t* c) const noexcept;
  int threads() const { return threads_; }
  int64_t packed_bytes() const { return static_cast<int64_t>(storage_.size()); }

 private:
  void run_rows(const uint8_t* a, uint8_t* c, int64_t begin, int64_t end) const noexcept;

  LayerF32 layer_;
  AlignedBuffer storage_;  // per group: weights, bias
  int64_t weight_floats_, bias_floats_;
  int threads_;
};

// Floats `first`, `first + 1`: clamp bounds, lo <= hi, infinities allowed.
void read_clamp(const StepView& step, int first, float* lo, float* hi);

}  // namespace octavo
