// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "ops/op.h"

namespace octavo {

// The sliding window of a convolution or pooling step: its first ten ints.
struct Window2d {
  int32_t kh, kw, stride_h, stride_w, dilation_h, dilation_w;
  int32_t pad_top, pad_left, pad_bottom, pad_right;
};

// Reads ints 0..9 and checks that x and y are NHWC of one batch size and that y has the spatial
// dims floor((in + pads - dilation * (k - 1) - 1) / stride) + 1. Every tap of every window then
// lies within the padded image.
Window2d read_window(const StepView& step, const Tensor& x, const Tensor& y);

// Taps [begin, end) of one axis that fall inside the image, for output coordinate `out`.
struct TapRange {
  int32_t begin, end;
  int32_t first;  // input coordinate of tap `begin`
};
TapRange clip_taps(int32_t out, int32_t stride, int32_t dilation, int32_t pad, int32_t k,
                   int32_t size);

// Every window holds at least one pixel of the image; a pool over padding only has no value.
void expect_no_empty_window(const StepView& step, const Window2d& w, const Tensor& x,
                            const Tensor& y);

}  // namespace octavo
