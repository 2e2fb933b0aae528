// SPDX-License-Identifier: Apache-2.0
#include "ops/staged_input.h"

#include "base/checked.h"
#include "ops/row_loops.h"

namespace octavo {

Tensor staged_tensor(const Tensor& x, DType type) {
  Tensor staged = x;
  staged.dtype = type;
  staged.halo = Halo{};
  return dense_like(staged);
}

StagedInput stage_rows(const StepView& step, DType type) {
  const Tensor& x = step.input(0);
  const Tensor tensor = staged_tensor(x, type);
  return {tensor, 0, tensor.bytes(), make_row_loops(step, x, tensor), x.dims[x.rank - 1], {}};
}

StagedInput stage_image(const StepView& step, const Tensor& staged, const Window2d& w,
                        const PaddedInput& padded) {
  const Tensor& x = step.input(0);
  Tensor tensor = staged;
  const int64_t row = padded.row_stride(), pixel = padded.pixel_stride();
  tensor.strides[0] = padded.image_stride();
  tensor.strides[1] = row;
  tensor.strides[2] = pixel;
  // A line is a row of the image where its pixels follow each other without a gap.
  const bool whole = x.strides[2] == x.dims[3] * x.item_size();
  const int64_t strides[2][kMaxRank] = {{x.strides[0], x.strides[1], x.strides[2]},
                                        {tensor.strides[0], row, pixel}};
  StagedInput s{tensor,
                0,
                checked_mul(padded.image_stride(), x.dims[0], step.name),
                LoopNest<2>(whole ? 2 : 3, x.dims, strides),
                whole ? int64_t{x.dims[2]} * x.dims[3] : x.dims[3],
                {}};
  if (padded.scratch_bytes() == 0) return s;  // no padding
  s.origin = w.pad_top * row + w.pad_left * pixel;
  const int64_t before = w.pad_left * pixel;
  s.border = {x.dims[0], padded.image_stride() / row,     w.pad_top, x.dims[1], row,
              before,    row - before - x.dims[2] * pixel};
  return s;
}

}  // namespace octavo
