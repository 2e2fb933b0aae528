// SPDX-License-Identifier: Apache-2.0
#include "ops/conv_rows.h"

#include "base/checked.h"

namespace octavo {

ConvRows make_conv_rows(const StepView& step, const Window2d& w, const PaddedInput& input,
                        int32_t groups, int64_t item) {
  const Tensor& x = step.input(0);
  const Tensor& y = step.output(0);
  const int32_t channels = x.dims[3] / groups;
  // Adjacent taps of a kernel row are one run when pixels follow each other without a gap.
  const bool whole_rows =
      groups == 1 && input.pixel_stride() == channels * item && (w.kw == 1 || w.dilation_w == 1);
  const int64_t length = whole_rows ? int64_t{w.kw} * channels : channels;
  std::vector<int32_t> segments;
  for (int64_t i = 0; i < w.kh; ++i) {
    for (int64_t j = 0; j < (whole_rows ? 1 : w.kw); ++j) {
      const int64_t offset =
          i * w.dilation_h * input.row_stride() + j * w.dilation_w * input.pixel_stride();
      checked_int32(offset + length * item,
                    step.name);  // packing counts on from its start
      segments.push_back(checked_int32(offset, step.name));
    }
  }
  const int64_t strides[2][kMaxRank] = {
      {input.image_stride(), w.stride_h * input.row_stride(), w.stride_w * input.pixel_stride()},
      {y.strides[0], y.strides[1], y.strides[2]}};
  return {LoopNest<2>(3, y.dims, strides), std::move(segments), checked_int32(length, step.name)};
}

int32_t read_groups(const StepView& step, const Tensor& x, const Tensor& y) {
  const int32_t groups = step.int_in(10, 1, x.dims[3], "groups");
  if (x.dims[3] % groups != 0 || y.dims[3] % groups != 0) {
    step.fail(ErrorCode::kShape, "%d groups do not divide %d input and %d output channels", groups,
              x.dims[3], y.dims[3]);
  }
  return groups;
}

}  // namespace octavo
