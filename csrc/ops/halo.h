// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/op.h"

namespace octavo {

// Writes the zero point (u8) or 0 (f32) into the halo of a tensor. Not a step of the plan: the
// executor runs it before a step that reads the tensor.
class HaloFill final : public Op {
 public:
  explicit HaloFill(const Tensor& tensor);
  void run(const RunContext& ctx) const noexcept override;

 private:
  void fill_image(uint8_t* image) const noexcept;
  void fill_pixels(uint8_t* at, int64_t count) const noexcept;

  Address first_;
  Halo halo_;
  int32_t images_, rows_, cols_;
  int64_t image_, row_, pixel_, pixel_bytes_;
  int value_;
};

}  // namespace octavo
