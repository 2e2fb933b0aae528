// SPDX-License-Identifier: Apache-2.0
// The norm of dynamic_s8: the other rows equal this file bit by bit.
#include "kernels/dynamic_s8/dynamic_s8.h"

namespace octavo {

void range_scalar(RangeArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    const float x = args.in[i];
    args.lo = x < args.lo ? x : args.lo;
    args.hi = x > args.hi ? x : args.hi;
  }
}

void scale_sums_scalar(const ScaleSumsArgs& args) {
  const uint32_t zero_point = static_cast<uint32_t>(args.zero_point);
  for (int32_t r = 0; r < args.rows; ++r) {
    const int32_t* sums = args.sums + r * args.sums_stride;
    float* out = args.out_rows[r] + args.out_offset;
    for (int32_t c = 0; c < args.n; ++c) {
      // modulo 2^32; `prepare` proves that the true difference fits
      const uint32_t shift = zero_point * static_cast<uint32_t>(args.weight_sums[c]);
      const int32_t acc = static_cast<int32_t>(static_cast<uint32_t>(sums[c]) - shift);
      const float m = args.x_scale * args.weight_scales[c];
      float y = static_cast<float>(acc) * m + args.bias[c];
      y = y < args.lo ? args.lo : y;
      out[c] = y > args.hi ? args.hi : y;
    }
  }
}

}  // namespace octavo
