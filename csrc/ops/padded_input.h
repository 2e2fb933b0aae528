// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/window.h"

namespace octavo {

// An NHWC tensor with its padding around it in memory. Where the tensor's halo covers what the
// windows touch, this is the tensor itself; otherwise a copy in scratch memory with the pad value
// around.
class PaddedInput {
 public:
  PaddedInput(const StepView& step, const Tensor& x, const Tensor& y, const Window2d& w);

  // The pixel (-pad_top, -pad_left) of image 0, after copying if a copy is needed.
  const uint8_t* prepare(const RunContext& ctx, int threads) const noexcept;

  int64_t image_stride() const { return image_; }
  int64_t row_stride() const { return row_; }
  int64_t pixel_stride() const { return pixel_; }
  int64_t scratch_bytes() const { return scratch_bytes_; }  // 0: no copy

 private:
  void copy_rows(const uint8_t* in, uint8_t* scratch, int64_t begin, int64_t end) const noexcept;

  Address in_;
  bool copied_ = false;
  int32_t pad_value_ = 0;  // byte; 0 is also the bit pattern of 0.0f
  int32_t pad_top_ = 0, rows_ = 0, padded_rows_ = 0, images_ = 0;
  int64_t pixels_ = 0, left_bytes_ = 0, right_bytes_ = 0, pixel_bytes_ = 0;
  int64_t in_image_ = 0, in_row_ = 0, in_pixel_ = 0;
  int64_t image_ = 0, row_ = 0, pixel_ = 0;
  int64_t scratch_bytes_ = 0;
};

}  // namespace octavo
