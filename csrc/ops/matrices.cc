// SPDX-License-Identifier: Apache-2.0
#include "ops/matrices.h"

namespace octavo {

Matrices split_matrices(const Tensor& t, bool has_rows, bool has_cols) {
  Matrices m{t, 1, 1, 0, t.item_size()};
  int rank = t.rank;
  if (has_cols) {
    --rank;
    m.cols = t.dims[rank];
    m.col_stride = t.strides[rank];
  }
  if (has_rows) {
    --rank;
    m.rows = t.dims[rank];
    m.row_stride = t.strides[rank];
  }
  m.batch.rank = rank;
  return m;
}

void check_matrices(const StepView& step, const Matrices& a, const Matrices& b, const Matrices& y) {
  if (a.cols == b.rows && y.rows == a.rows && y.cols == b.cols) return;
  step.fail(ErrorCode::kShape, "%lld x %lld times %lld x %lld is not %lld x %lld",
            static_cast<long long>(a.rows), static_cast<long long>(a.cols),
            static_cast<long long>(b.rows), static_cast<long long>(b.cols),
            static_cast<long long>(y.rows), static_cast<long long>(y.cols));
}

}  // namespace octavo
