// SPDX-License-Identifier: Apache-2.0
// The norm of eltwise_s8: the other rows equal this file bit by bit.
#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/round_scalar.h"
#include "kernels/stored.h"

namespace octavo {

void add_s8_scalar(const EltwiseS8Args& args) {
  const Requant& rq = args.requant;
  for (int64_t i = 0; i < args.n; ++i) {
    const float t = static_cast<float>(value_of(args.a[i]) - args.a_zero_point) * args.ka;
    const float u = static_cast<float>(value_of(args.b[i]) - args.b_zero_point) * args.kb;
    args.c[i] = stored_of(round_clamped(t + u, rq.lo, rq.hi) + rq.zero_point);
  }
}

void mul_s8_scalar(const EltwiseS8Args& args) {
  const Requant& rq = args.requant;
  for (int64_t i = 0; i < args.n; ++i) {
    const int32_t a = value_of(args.a[i]) - args.a_zero_point;
    const int32_t b = value_of(args.b[i]) - args.b_zero_point;
    const float t = static_cast<float>(a * b) * args.ka;
    args.c[i] = stored_of(round_clamped(t, rq.lo, rq.hi) + rq.zero_point);
  }
}

}  // namespace octavo
