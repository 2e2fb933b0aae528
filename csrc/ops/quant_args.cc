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

// Expands one channel's weights and returns sum |w - zero|. Short runs with a 32-bit sum, so that
// the compiler vectorizes the loop: this touches every weight of a model when it is loaded.
template <class T>
int64_t expand_channel(const uint8_t* raw, int32_t zero, int64_t k, int16_t* out) {
  constexpr int64_t kRun = 4096;
  int64_t magnitude = 0;
  for (int64_t first = 0; first < k; first += kRun) {
    const int64_t end = std::min(first + kRun, k);
    int32_t sum = 0;
    for (int64_t i = first; i < end; ++i) {
      const int32_t w = static_cast<T>(raw[i]) - zero;
      out[i] = static_cast<int16_t>(w);
      sum += w < 0 ? -w : w;
    }
    magnitude += sum;
  }
  return magnitude;
}

bool all_fit_s8(const std::vector<int16_t>& values) {
  uint16_t seen = 0;  // v + 128 is in 0..255 unless a higher bit is set
  for (const int16_t v : values) seen = static_cast<uint16_t>(seen | (v + 128));
  return seen <= 255;
}

// Fills in the values, for inputs of magnitude up to `largest` after their zero point and sums of
// so many bits beside the sign.
void expand_weights(const StepView& step, int32_t n, int64_t k, int64_t largest, int bits,
                    QuantWeights* w) {
  const DType dtype = weight_type(step);
  const int64_t count = checked_mul(n, k, step.name);
  const uint8_t* raw = step.constant(0, dtype, count, "weights");
  const std::vector<int32_t> zero = weight_zero_points(step, n, dtype);
  w->values.resize(static_cast<size_t>(count));
  for (int32_t c = 0; c < n; ++c) {
    int16_t* out = w->values.data() + c * k;
    const int64_t sum = dtype == DType::kU8 ? expand_channel<uint8_t>(raw + c * k, zero[c], k, out)
                                            : expand_channel<int8_t>(raw + c * k, zero[c], k, out);
    // k <= 2^40 and |w| <= 255, so the product stays below 2^63.
    const int64_t reach = sum * largest + std::abs(int64_t{w->bias[c]});
    if (reach >= int64_t{1} << bits) {
      step.fail(ErrorCode::kUnsupported,
                "the accumulator of channel %d can reach %lld, beyond "
                "%s; split the reduction or use smaller weights",
                c, static_cast<long long>(reach), bits == 31 ? "int32" : "2^53");
    }
  }
  w->fit_s8 = all_fit_s8(w->values);
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
  QuantWeights w;
  w.bias = step.constant_values<int32_t>(1, DType::kS32, n, "bias");
  w.multiplier = step.constant_values<float>(2, DType::kF32, n, "multiplier");
  expand_weights(step, n, k, std::max(za, 255 - za), 31, &w);
  for (int32_t c = 0; c < n; ++c) {
    if (!std::isfinite(w.multiplier[c]) || w.multiplier[c] < 0) {
      step.fail(ErrorCode::kFormat, "multiplier of channel %d is %g, must be finite and >= 0", c,
                static_cast<double>(w.multiplier[c]));
    }
  }
  return w;
}

QuantWeights read_wide_weights(const StepView& step, int32_t n, int64_t k, int64_t largest) {
  QuantWeights w;
  w.bias = step.constant_values<int32_t>(1, DType::kS32, n, "bias");
  expand_weights(step, n, k, largest, 53, &w);
  return w;
}

QuantWeights read_bare_weights(const StepView& step, int32_t n, int64_t k) {
  QuantWeights w;
  w.bias.assign(static_cast<size_t>(n), 0);
  w.multiplier.assign(static_cast<size_t>(n), 1.0f);
  expand_weights(step, n, k, 255, 31, &w);
  return w;
}

}  // namespace octavo
