// SPDX-License-Identifier: Apache-2.0
#include "ops/row_loops.h"

namespace octavo {

LoopNest<2> make_row_loops(const StepView& step, const Tensor& x, const Tensor& y) {
  if (x.rank != y.rank || x.rank < 1) {
    step.fail(ErrorCode::kShape, "ranks %d and %d must be equal and at least 1", x.rank, y.rank);
  }
  int64_t strides[2][kMaxRank] = {};
  for (int d = 0; d + 1 < x.rank; ++d) {
    if (x.dims[d] != y.dims[d]) {
      step.fail(ErrorCode::kShape, "dim %d is %d in and %d out", d, x.dims[d], y.dims[d]);
    }
    strides[0][d] = x.strides[d];
    strides[1][d] = y.strides[d];
  }
  return LoopNest<2>(x.rank - 1, x.dims, strides);
}

}  // namespace octavo
