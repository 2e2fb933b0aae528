// SPDX-License-Identifier: Apache-2.0
// The norm of layer_norm_s8: the other rows equal this file bit by bit.
#include "kernels/layer_norm_s8/layer_norm_s8.h"
#include "kernels/round_scalar.h"
#include "kernels/stored.h"

namespace octavo {

void layer_norm_s8_scalar(const LayerNormS8Args& args) {
  int64_t sum = 0, squares = 0;
  for (int64_t i = 0; i < args.n; ++i) {
    const int32_t d = value_of(args.in[i]) - args.in_zero_point;
    sum += d;
    squares += d * d;
  }
  const LayerNormRow row(args, sum, squares);
  const Requant& rq = args.requant;
  for (int64_t i = 0; i < args.n; ++i) {
    const float d = static_cast<float>(value_of(args.in[i]) - args.in_zero_point);
    const float v = ((row.n * d - row.sum) * row.factor) * args.gain[i] + args.shift[i];
    args.out[i] = stored_of(round_clamped(v, rq.lo, rq.hi) + rq.zero_point);
  }
}

}  // namespace octavo
