// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/convert/convert.h"
#include "kernels/dynamic_s8/dynamic_s8.h"
#include "ops/loop_nest.h"
#include "ops/op.h"

namespace octavo {

struct DynamicScale {  // of activations that were quantized together
  float scale;
  int32_t zero_point;  // 0..255
};

// float32 activations quantized on the fly into u8 scratch memory: all together, or each unit (a
// row of a matrix, an image) by its own range.
class DynamicInput {
 public:
  // `loops` walk the lines of x (operand 0) and where they go (operand 1), both in bytes; a line is
  // `length` adjacent elements, and equally many follow each other in each of `units` units.
  DynamicInput(const LoopNest<2>& loops, int64_t length, int64_t units, Isa cap);

  int64_t scratch_bytes() const;  // of run, beside the bytes themselves
  int64_t units() const { return units_; }

  // Writes the bytes to `out` and returns the scale of every unit, which lies in `scratch`.
  const DynamicScale* run(const uint8_t* x, uint8_t* out, uint8_t* scratch,
                          int threads) const noexcept;

 private:
  struct Range {
    float lo, hi;
  };
  void quantize(const uint8_t* x, uint8_t* out, const DynamicScale* scales, int64_t begin,
                int64_t end) const noexcept;

  LoopNest<2> loops_;
  int64_t length_, lines_, units_;
  const DynamicS8Kernels& ranges_;
  const ConvertKernels& converts_;
};

// scale = (hi - lo) / 255, zero point = clamp(rne(0 - lo / scale), 0, 255), for lo <= 0 <= hi: ONNX
// DynamicQuantizeLinear. Ends beyond 2^100 count as that, and a scale below the normal numbers as
// 1, so that nothing can become NaN.
DynamicScale dynamic_scale(float lo, float hi);

}  // namespace octavo
