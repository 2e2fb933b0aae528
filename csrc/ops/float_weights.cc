// SPDX-License-Identifier: Apache-2.0
#include "ops/float_weights.h"

#include <cmath>

#include "base/checked.h"

namespace octavo {
namespace {

DType weight_type(const StepView& step) { return step.constants[step.const_refs.data[0]].dtype; }

template <class T>
void unpack_row(const uint8_t* raw, int32_t zero, float scale, int64_t k, float* out) {
  for (int64_t i = 0; i < k; ++i) {
    out[i] = static_cast<float>(static_cast<T>(raw[i]) - zero) * scale;
  }
}

}  // namespace

Precision float_layer_precision(const StepView& step) {
  return weight_type(step) == DType::kF32 ? Precision::kFloat32 : Precision::kWeightsInt8;
}

std::vector<float> read_float_weights(const StepView& step, int64_t n, int64_t k) {
  const DType dtype = weight_type(step);
  const int64_t count = checked_mul(n, k, step.name);
  const int32_t extra = step.const_refs.count - 2;
  if (!is_8bit(dtype)) {
    if (extra != 0) {
      step.fail(ErrorCode::kFormat, "%s weights take no scales", dtype_name(dtype));
    }
    return step.constant_values<float>(0, DType::kF32, count, "weights");
  }
  if (extra < 1) step.fail(ErrorCode::kFormat, "%s weights need scales", dtype_name(dtype));
  const uint8_t* raw = step.constant(0, dtype, count, "weights");
  const auto scale = step.constant_values<float>(2, DType::kF32, n, "weight scale");
  std::vector<int32_t> zero(static_cast<size_t>(n), 0);
  if (extra > 1) zero = step.constant_values<int32_t>(3, DType::kS32, n, "weight zero point");
  const int32_t low = dtype == DType::kU8 ? 0 : -128;
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t c = 0; c < n; ++c) {
    if (zero[c] < low || zero[c] > low + 255) {
      step.fail(ErrorCode::kFormat, "weight zero point %d is outside %s", zero[c],
                dtype_name(dtype));
    }
    if (!std::isfinite(scale[c])) {
      step.fail(ErrorCode::kFormat, "weight scale of channel %lld is %g, must be finite",
                static_cast<long long>(c), static_cast<double>(scale[c]));
    }
    if (dtype == DType::kU8) {
      unpack_row<uint8_t>(raw + c * k, zero[c], scale[c], k, values.data() + c * k);
    } else {
      unpack_row<int8_t>(raw + c * k, zero[c], scale[c], k, values.data() + c * k);
    }
  }
  return values;
}

}  // namespace octavo
