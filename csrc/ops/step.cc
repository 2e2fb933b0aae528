// SPDX-License-Identifier: Apache-2.0
#include "ops/step.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace octavo {

void StepView::fail(ErrorCode code, const char* format, ...) const {
  char detail[512];
  va_list args;
  va_start(args, format);
  std::vsnprintf(detail, sizeof detail, format, args);
  va_end(args);
  octavo::fail(code, "step '%.200s' (%.64s): %s", name, kind, detail);
}

void StepView::expect(const Arity& arity) const {
  const struct {
    const char* what;
    int32_t found, wanted, extra;
  } rows[] = {{"inputs", inputs.count, arity.inputs, 0},
              {"outputs", outputs.count, arity.outputs, 0},
              {"ints", ints.count, arity.ints, 0},
              {"floats", floats.count, arity.floats, 0},
              {"constants", const_refs.count, arity.consts, arity.optional_consts}};
  for (const auto& row : rows) {
    if (row.found < row.wanted || row.found > row.wanted + row.extra) {
      fail(ErrorCode::kFormat, "%d %s, expected %d", row.found, row.what, row.wanted);
    }
  }
}

int32_t StepView::int_in(int i, int32_t low, int32_t high, const char* what) const {
  const int32_t value = ints.data[i];
  if (value < low || value > high) {
    fail(ErrorCode::kFormat, "%s is %d, must be in [%d, %d]", what, value, low, high);
  }
  return value;
}

float StepView::finite_at(int i, const char* what) const {
  const float value = floats.data[i];
  if (!std::isfinite(value)) {
    fail(ErrorCode::kFormat, "%s is %g, must be finite", what, static_cast<double>(value));
  }
  return value;
}

const uint8_t* StepView::constant(int i, DType dtype, int64_t count, const char* what) const {
  // Of the optional constants of a kind, which ones are needed may depend on its ints.
  if (i >= const_refs.count) {
    fail(ErrorCode::kFormat, "%d constants, no %s", const_refs.count, what);
  }
  const ConstData& found = constants[const_refs.data[i]];
  if (found.dtype != dtype) {
    fail(ErrorCode::kFormat, "%s is %s, must be %s", what, dtype_name(found.dtype),
         dtype_name(dtype));
  }
  if (found.size % dtype_size(dtype) != 0 || found.size / dtype_size(dtype) != count) {
    fail(ErrorCode::kShape, "%s has %lld bytes, expected %lld elements of %s", what,
         static_cast<long long>(found.size), static_cast<long long>(count), dtype_name(dtype));
  }
  return found.data;
}

void StepView::expect_arena_tensor(const Tensor& tensor, DType dtype) const {
  if (tensor.dtype != dtype) {
    fail(ErrorCode::kFormat, "tensor '%s' is %s, must be %s", tensor.name, dtype_name(tensor.dtype),
         dtype_name(dtype));
  }
  if (tensor.location != Location::kArena) {
    fail(ErrorCode::kFormat,
         "tensor '%s' is a model input or output; only copy, fill, quantize, "
         "dequantize, flip and load_constant may touch one",
         tensor.name);
  }
}

void StepView::expect_kernel_tensor(const Tensor& tensor, DType dtype) const {
  expect_arena_tensor(tensor, dtype);
  if (!tensor.last_dense()) {
    fail(ErrorCode::kFormat, "the last dimension of tensor '%s' has stride %lld, must be dense",
         tensor.name, static_cast<long long>(tensor.strides[tensor.rank - 1]));
  }
}

void StepView::expect_rank(const Tensor& tensor, int rank) const {
  if (tensor.rank != rank) {
    fail(ErrorCode::kShape, "tensor '%s' has rank %d, must be %d", tensor.name, tensor.rank, rank);
  }
}

void StepView::expect_same_dims(const Tensor& a, const Tensor& b) const {
  if (!same_dims(a, b)) {
    fail(ErrorCode::kShape, "tensors '%s' and '%s' must have equal dims", a.name, b.name);
  }
}

void StepView::expect_disjoint(const Tensor& out, const Tensor& in) const {
  if (!disjoint(out, in)) {
    fail(ErrorCode::kFormat, "output '%s' overlaps input '%s'", out.name, in.name);
  }
}

void StepView::expect_disjoint_or_in_place(const Tensor& out, const Tensor& in) const {
  if (!same_elements(out, in)) expect_disjoint(out, in);
}

}  // namespace octavo
