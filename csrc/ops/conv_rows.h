// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <vector>

#include "ops/loop_nest.h"
#include "ops/padded_input.h"

namespace octavo {

// A convolution as a product of rows with weights: what conv_s8 and conv_f32 have in common.
struct ConvRows {
  LoopNest<2> rows;               // output pixels: address of the first tap, address of the output
  std::vector<int32_t> segments;  // byte offsets of the runs of input of one pixel and group
  int32_t segment_len;            // elements of a run
};

// `item`: bytes of an element of the input.
ConvRows make_conv_rows(const StepView& step, const Window2d& w, const PaddedInput& input,
                        int32_t groups, int64_t item);

// Int 10: groups, which must divide the channels of x and y.
int32_t read_groups(const StepView& step, const Tensor& x, const Tensor& y);

}  // namespace octavo
