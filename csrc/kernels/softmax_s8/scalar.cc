// SPDX-License-Identifier: Apache-2.0
// The norm of softmax_s8: the other rows equal this file bit by bit.
#include "kernels/round_scalar.h"
#include "kernels/softmax_s8/softmax_s8.h"
#include "kernels/stored.h"

namespace octavo {

void softmax_s8_scalar(const SoftmaxS8Args& args) {
  int32_t max = 0;
  for (int64_t i = 0; i < args.n; ++i) {
    const int32_t value = value_of(args.in[i]);
    max = value > max ? value : max;
  }
  int64_t sum = 0;
  for (int64_t i = 0; i < args.n; ++i) sum += args.table[max - value_of(args.in[i])];

  // Entries are at most 2^23, so exact as float32; the sum rounds once.
  const Requant& rq = args.requant;
  const float total = static_cast<float>(sum);
  for (int64_t i = 0; i < args.n; ++i) {
    const float e =
        static_cast<float>(static_cast<int32_t>(args.table[max - value_of(args.in[i])]));
    const float v = (e / total) / args.out_scale;
    args.out[i] = stored_of(round_clamped(v, rq.lo, rq.hi) + rq.zero_point);
  }
}

}  // namespace octavo
