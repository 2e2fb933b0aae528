// SPDX-License-Identifier: Apache-2.0
#include "ops/broadcast.h"

#include <algorithm>

namespace octavo {
namespace {

int32_t dim_from_right(const Tensor& t, int d) { return d < t.rank ? t.dims[t.rank - 1 - d] : 1; }

int64_t stride_from_right(const Tensor& t, int d) {
  return d < t.rank && t.dims[t.rank - 1 - d] != 1 ? t.strides[t.rank - 1 - d] : 0;
}

}  // namespace

LoopNest<3> broadcast_loops(const StepView& step, const Tensor& a, const Tensor& b,
                            const Tensor& y) {
  if (y.rank != std::max(a.rank, b.rank)) {
    step.fail(ErrorCode::kShape, "ranks %d and %d give rank %d, not %d", a.rank, b.rank,
              std::max(a.rank, b.rank), y.rank);
  }
  int64_t strides[3][kMaxRank] = {};
  for (int d = 0; d < y.rank; ++d) {  // counted from the last dimension
    const int32_t in_a = dim_from_right(a, d), in_b = dim_from_right(b, d);
    const int32_t out = dim_from_right(y, d);
    const int32_t expected = in_a == 1 ? in_b : in_a;
    if ((in_b != 1 && in_b != expected) || out != expected) {
      step.fail(ErrorCode::kShape, "dims %d and %d do not broadcast to %d (dim %d from the right)",
                in_a, in_b, out, d);
    }
    const int at = y.rank - 1 - d;
    strides[0][at] = stride_from_right(a, d);
    strides[1][at] = stride_from_right(b, d);
    strides[2][at] = stride_from_right(y, d);
  }
  return LoopNest<3>(y.rank, y.dims, strides);
}

}  // namespace octavo
