// SPDX-License-Identifier: Apache-2.0
// The norm of resize_s8: the other rows equal this file bit by bit.
#include "kernels/resize_s8/resize_s8.h"
#include "kernels/round_scalar.h"
#include "kernels/stored.h"

namespace octavo {

void resize_s8_scalar(const ResizeS8Args& args) {
  const Requant& rq = args.requant;
  const int32_t bottom_weight = args.bottom_weight, top_weight = kResizeOne - bottom_weight;
  uint8_t* out = args.out;
  for (int x = 0; x < args.out_w; ++x, out += args.out_pixel_stride) {
    const ResizeS8Column& column = args.columns[x];
    const uint8_t *top_left = args.top + column.left, *top_right = args.top + column.right;
    const uint8_t* bottom_left = args.bottom + column.left;
    const uint8_t* bottom_right = args.bottom + column.right;
    for (int c = 0; c < args.channels; ++c) {
      const int32_t left =
          value_of(top_left[c]) * top_weight + value_of(bottom_left[c]) * bottom_weight;
      const int32_t right =
          value_of(top_right[c]) * top_weight + value_of(bottom_right[c]) * bottom_weight;
      const int32_t acc = left * (kResizeOne - column.right_weight) + right * column.right_weight;
      const float v = static_cast<float>(acc - args.zero_sum) * args.multiplier;
      out[c] = stored_of(round_clamped(v, rq.lo, rq.hi) + rq.zero_point);
    }
  }
}

}  // namespace octavo
