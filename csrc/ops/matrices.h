// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "ops/step.h"

namespace octavo {

// A tensor as a stack of matrices: its last two dimensions, and a tensor of the rest.
struct Matrices {
  Tensor batch;
  int64_t rows, cols, row_stride, col_stride;  // strides in bytes
};

// NumPy matmul: a 1-D operand is a row (a) or a column (b), whose dimension y then lacks.
Matrices split_matrices(const Tensor& t, bool has_rows, bool has_cols);

// a [M, K] times b [K, N] is y [M, N].
void check_matrices(const StepView& step, const Matrices& a, const Matrices& b, const Matrices& y);

}  // namespace octavo
