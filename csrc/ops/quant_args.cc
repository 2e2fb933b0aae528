// SPDX-License-Identifier: Apache-2.0
#include "ops/quant_args.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/checked.h"

namespace octavo {
namespace {

DType weight_type(const StepView& step) {
  const DType dtype = step.constants[step.const_refs.data[0]].dtype;
  if (!is_8bit(dtype)) {
    step.fail(ErrorCode::kUnsupported, "weights are %s, must be s8 or u8", dtype_name(dtype));
  }
  return dtype;
}

std::vector<int32_t> weight_zero_points(const StepView& step, int32_t n, DType dtype) {
  if (step.const_refs.count < 4) return std::vector<int32_t>(static_cast<size_t>(n), 0);
  auto zero = step.constant_values<int32_t>(3, DType::kS32, n, "weight zero point");
  const int32_t low = dtype == DType::kU8 ? 0 : -128;
  for (const int32_t z : zero) {
    if (z < low || z > low + 255) {
      step.fail(ErrorCode::kFormat, "weight zero point %d is outside %s", z, dtype_name(dtype));
    }
  }
  return zero;
}

// Expands one channel's weights and returns sum |w - zero|.
int64_t expand_channel(const uint8_t* raw, DType dtype, int32_t zero, int64_t k, int16_t* out) {
  int64_t magnitude = 0;
  for (int64_t i = 0; i < k; ++i) {
    const int32_t w = (dtype == DType::kU8 ? raw[i] : static_cast<int8_t>(raw[i])) - zero;
    out[i] = static_cast<int16_t>(w);
    magnitude += std::abs(w);
  }
  return magnitude;
}

}  // namespace

Requant read_requant(const StepView& step, int first, const Tensor& y, bool with_rounding) {
  const int32_t qmin = step.int_in(first, 0, 255, "qmin");
  const int32_t qmax = step.int_in(first + 1, qmin, 255, "qmax");
  if (with_rounding && step.ints.data[first + 2] != static_cast<int32_t>(RoundingMode::kFloatRne)) {
    step.fail(ErrorCode::kUnsupported, "rounding mode %d; only 0 (float_rne) is supported",
              step.ints.data[first + 2]);
  }
  return make_requant(RoundingMode::kFloatRne, y.zero_point, qmin, qmax);
}

QuantWeights read_quant_weights(const StepView& step, int32_t n, int64_t k, int32_t za) {
  const DType dtype = weight_type(step);
  const int64_t count = checked_mul(n, k, step.name);
  const uint8_t* raw = step.constant(0, dtype, count, "weights");
  QuantWeights w;
  w.bias = step.constant_values<int32_t>(1, DType::kS32, n, "bias");
  w.multiplier = step.constant_values<float>(2, DType::kF32, n, "multiplier");
  const std::vector<int32_t> zero = weight_zero_points(step, n, dtype);
  w.values.resize(static_cast<size_t>(count));
  const int64_t largest = std::max(za, 255 - za);
  for (int32_t c = 0; c < n; ++c) {
    const int64_t sum = expand_channel(raw + c * k, dtype, zero[c], k, w.values.data() + c * k);
    // k <= 2^40 and |w| <= 255, so the product stays far below 2^63.
    const int64_t reach = sum * largest + std::abs(int64_t{w.bias[c]});
    if (reach >= int64_t{1} << 31) {
      step.fail(ErrorCode::kUnsupported,
                "the accumulator of channel %d can reach %lld, beyond "
                "int32; split the reduction or use smaller weights",
                c, static_cast<long long>(reach));
    }
    if (!std::isfinite(w.multiplier[c]) || w.multiplier[c] < 0) {
      step.fail(ErrorCode::kFormat, "multiplier of channel %d is %g, must be finite and >= 0", c,
                static_cast<double>(w.multiplier[c]));
    }
  }
  for (const int16_t v : w.values) w.fit_s8 = w.fit_s8 && v >= -128 && v <= 127;
  return w;
}

}  // namespace octavo
