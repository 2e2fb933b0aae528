// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/requant.h"
#include "ops/op.h"

namespace octavo {

// Ints `first`, `first + 1` are qmin and qmax; with_rounding: the next one is the rounding mode.
Requant read_requant(const StepView& step, int first, const Tensor& y, bool with_rounding);

// Constants of conv_s8 and linear_s8: weights with the zero point taken off, bias, multipliers.
struct QuantWeights {
  std::vector<int16_t> values;  // [n][k], in [-255, 255]
  std::vector<int32_t> bias;
  std::vector<float> multiplier;
  bool fit_s8 = true;
};

// Reads constants 0..2 and the optional 3 for n channels of k weights, and proves that no input can
// overflow an int32 accumulator: sum |w| * max(za, 255 - za) + |bias| < 2^31 for each channel.
// Throws Error(kUnsupported) naming the channel otherwise.
QuantWeights read_quant_weights(const StepView& step, int32_t n, int64_t k, int32_t za);

// The same for sums of 64 bits of inputs up to `largest`, which must be exact in float64: below
// 2^53. Constant 2 is left to the caller, the multipliers are empty.
QuantWeights read_wide_weights(const StepView& step, int32_t n, int64_t k, int64_t largest);

// The weights alone (constant 0, zero points in the optional 3), with a bias of 0, for inputs of
// which only the type is known: sum |w| * 255 < 2^31 for each channel.
QuantWeights read_bare_weights(const StepView& step, int32_t n, int64_t k);

}  // namespace octavo
